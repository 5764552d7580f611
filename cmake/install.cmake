# What a C or C++ program needs: find_package(wrt_platform 0.1 CONFIG), or pkg-config.
include(GNUInstallDirs)
include(CMakePackageConfigHelpers)

set(package_folder ${CMAKE_INSTALL_LIBDIR}/cmake/wrt_platform)

install(TARGETS wrt_platform wrt_platform_static EXPORT wrt_platform COMPONENT development)
install(DIRECTORY c/include/ DESTINATION ${CMAKE_INSTALL_INCLUDEDIR} COMPONENT development
  FILES_MATCHING PATTERN "*.h")
install(EXPORT wrt_platform NAMESPACE wrt_platform:: FILE wrt_platformConfig.cmake
  DESTINATION ${package_folder} COMPONENT development)

write_basic_package_version_file(${PROJECT_BINARY_DIR}/wrt_platformConfigVersion.cmake
  COMPATIBILITY SameMinorVersion)
install(FILES ${PROJECT_BINARY_DIR}/wrt_platformConfigVersion.cmake
  DESTINATION ${package_folder} COMPONENT development)

file(RELATIVE_PATH prefix_from_pc /${CMAKE_INSTALL_LIBDIR}/pkgconfig /)
configure_file(cmake/wrt_platform.pc.in wrt_platform.pc @ONLY)
install(FILES ${PROJECT_BINARY_DIR}/wrt_platform.pc
  DESTINATION ${CMAKE_INSTALL_LIBDIR}/pkgconfig COMPONENT development)

install(FILES man/wrt.1 DESTINATION ${CMAKE_INSTALL_MANDIR}/man1 COMPONENT development)
