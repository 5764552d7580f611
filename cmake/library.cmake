# All folders together: the library, static everywhere and shared where there is a loader.
set(objects "")
foreach(floor IN LISTS floors)
  list(APPEND objects $<TARGET_OBJECTS:wrt_${floor}>)
endforeach()
foreach(name IN LISTS simulated)
  list(APPEND objects $<TARGET_OBJECTS:wrt_sim_${name}>)
endforeach()

function(wrt_library target)
  target_include_directories(${target} PUBLIC
    $<BUILD_INTERFACE:${PROJECT_SOURCE_DIR}/c/include>
    $<INSTALL_INTERFACE:include>)
  set_target_properties(${target} PROPERTIES OUTPUT_NAME wrt_platform)
  if(WRT_PLATFORM_SANITIZE)
    target_link_options(${target} PUBLIC ${sanitizers})
  endif()
endfunction()

add_library(wrt_platform_static STATIC ${objects})
add_library(wrt_platform::static ALIAS wrt_platform_static)
set_target_properties(wrt_platform_static PROPERTIES EXPORT_NAME static)
wrt_library(wrt_platform_static)

if(NOT hosted)
  add_custom_command(TARGET wrt_platform_static POST_BUILD
    COMMAND ${CMAKE_SIZE} --totals $<TARGET_FILE:wrt_platform_static>)
  return()
endif()

add_library(wrt_platform SHARED ${objects})
add_library(wrt_platform::wrt_platform ALIAS wrt_platform)
set(exports ${PROJECT_SOURCE_DIR}/cmake/exports.map)
set_target_properties(wrt_platform PROPERTIES
  VERSION ${PROJECT_VERSION}
  SOVERSION ${PROJECT_VERSION_MAJOR}
  LINK_DEPENDS ${exports})
target_link_options(wrt_platform PRIVATE
  -Wl,--version-script=${exports}
  -Wl,--no-undefined)
wrt_library(wrt_platform)
