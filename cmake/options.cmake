# How every source of the library is compiled.
add_library(wrt_options INTERFACE)

target_compile_features(wrt_options INTERFACE c_std_11)
target_include_directories(wrt_options INTERFACE ${PROJECT_SOURCE_DIR}/c/include)
target_compile_options(wrt_options INTERFACE
  -Wall -Wextra -Wpedantic -Wconversion -Wshadow
  $<$<BOOL:${WRT_PLATFORM_WERROR}>:-Werror>
  -ffp-contract=off) # a fused multiply-add would change the guest's results

if(NOT hosted) # on hosts -ffreestanding would cost the builtins, and speed with them
  target_compile_options(wrt_options INTERFACE -ffreestanding -ffunction-sections -fdata-sections)
endif()
if(WRT_PLATFORM_SANITIZE)
  set(sanitizers -fsanitize=address,undefined -fno-sanitize-recover=undefined -fno-omit-frame-pointer)
  target_compile_options(wrt_options INTERFACE ${sanitizers})
  target_link_options(wrt_options INTERFACE ${sanitizers})
endif()

# The interpreter's handlers share a few registers across hundreds of jumps. Vectorised, gcc
# packs two of them into one and ends every handler in the same jump: seven times slower.
# Where the code starts within a cache line decides about a tenth of its speed, so it is fixed.
if(CMAKE_C_COMPILER_ID STREQUAL "GNU")
  set(interpreter_options -fno-strict-aliasing -falign-functions=64 -fno-tree-vectorize
                          -fno-tree-slp-vectorize)
else()
  set(interpreter_options -fno-strict-aliasing -fno-vectorize -fno-slp-vectorize)
endif()
