# `cmake --install`: binaries, headers, libraries, and a package for find_package(Lowbank).
include(CMakePackageConfigHelpers)

get_property(rooms GLOBAL PROPERTY LOWBANK_ROOMS)
get_property(commands GLOBAL PROPERTY LOWBANK_COMMANDS)
install(TARGETS ${commands} RUNTIME DESTINATION ${CMAKE_INSTALL_BINDIR})
install(TARGETS ${rooms} EXPORT LowbankTargets ARCHIVE DESTINATION ${CMAKE_INSTALL_LIBDIR})
install(EXPORT LowbankTargets NAMESPACE Lowbank:: DESTINATION ${CMAKE_INSTALL_LIBDIR}/cmake/Lowbank)
install(DIRECTORY src/ DESTINATION ${CMAKE_INSTALL_INCLUDEDIR}/lowbank FILES_MATCHING PATTERN "*.h")
foreach(folder models data eval train stages)
  install(DIRECTORY ${folder} DESTINATION ${CMAKE_INSTALL_INCLUDEDIR}/lowbank
          FILES_MATCHING PATTERN "*.h")
endforeach()
install(DIRECTORY configs DESTINATION ${CMAKE_INSTALL_DATADIR}/lowbank)
install(DIRECTORY data/samples DESTINATION ${CMAKE_INSTALL_DATADIR}/lowbank/data)
configure_package_config_file(cmake/LowbankConfig.cmake.in ${PROJECT_BINARY_DIR}/LowbankConfig.cmake
                              INSTALL_DESTINATION ${CMAKE_INSTALL_LIBDIR}/cmake/Lowbank)
write_basic_package_version_file(${PROJECT_BINARY_DIR}/LowbankConfigVersion.cmake
                                 COMPATIBILITY SameMinorVersion)
install(FILES ${PROJECT_BINARY_DIR}/LowbankConfig.cmake
              ${PROJECT_BINARY_DIR}/LowbankConfigVersion.cmake cmake/FindLibTorch.cmake
        DESTINATION ${CMAKE_INSTALL_LIBDIR}/cmake/Lowbank)
