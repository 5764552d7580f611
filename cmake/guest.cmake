# Sources for a system that this machine only simulates: backends, and the entries of its
# simulated kernel. They see the compiler's own headers first and c/sim/<system>/include behind
# them, so that no constant and no type of this machine's C library can leak in.
if(simulated)
  execute_process(
    COMMAND ${CMAKE_C_COMPILER} -print-file-name=include
    OUTPUT_VARIABLE compiler_headers
    OUTPUT_STRIP_TRAILING_WHITESPACE
    COMMAND_ERROR_IS_FATAL ANY)
  set(guest_options -nostdinc -isystem${compiler_headers}
    -U__linux__ -U__linux -Ulinux -U__gnu_linux__)
  set(guest_options_qnx ${guest_options}
    -idirafter${PROJECT_SOURCE_DIR}/c/sim/qnx/include -D__QNX__=1 -D__QNXNTO__=1)
endif()

# wrt_simulation(<name> <source>...): the sources of c/sim/<name>, as the object library
# wrt_sim_<name>. Those called entry_*.c are compiled as the simulated system's own.
function(wrt_simulation name)
  wrt_folder(sim_${name} ${ARGN})
  set(entries ${ARGN})
  list(FILTER entries INCLUDE REGEX "^entry_")
  if(entries)
    set_source_files_properties(${entries} PROPERTIES COMPILE_OPTIONS "${guest_options_${name}}")
  endif()
endfunction()

# wrt_guest_folder(<name> <source>...): the sources of c/src/<name>. On Linux they are compiled
# against the simulated system, all but port.c, since the library has Linux's port already.
function(wrt_guest_folder name)
  set(sources ${ARGN})
  if(simulated)
    list(REMOVE_ITEM sources port.c)
  endif()
  wrt_folder(${name} ${sources})
  if(simulated)
    target_compile_options(wrt_${name} PRIVATE ${guest_options_${name}})
  endif()
endfunction()
