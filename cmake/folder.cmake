# wrt_folder(<name> <source>...): the sources of c/src/<name>, as the object library wrt_<name>.
function(wrt_folder name)
  add_library(wrt_${name} OBJECT ${ARGN})
  set_target_properties(wrt_${name} PROPERTIES
    C_STANDARD 11
    C_STANDARD_REQUIRED ON
    C_EXTENSIONS OFF
    C_VISIBILITY_PRESET hidden
    POSITION_INDEPENDENT_CODE ${hosted})
  target_link_libraries(wrt_${name} PRIVATE wrt_options)
endfunction()
