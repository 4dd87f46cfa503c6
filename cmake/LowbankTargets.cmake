# With these helpers a room's CMakeLists.txt only lists its sources and the rooms that it uses.

# The flags of every target. Torch rooms do without -Wconversion, because the templates of LibTorch's
# headers would cause too many warnings.
add_library(lowbank_flags INTERFACE)
# GCC 12 sees overlapping copies in "text" + std::string where there are none (GCC bug 105651).
target_compile_options(lowbank_flags
                       INTERFACE "$<BUILD_INTERFACE:-Wall;-Wextra;-Wshadow;$<$<CXX_COMPILER_ID:GNU>:-Wno-restrict>>")
if(LOWBANK_WERROR)
  target_compile_options(lowbank_flags INTERFACE $<BUILD_INTERFACE:-Werror>)
endif()
target_include_directories(
  lowbank_flags INTERFACE $<BUILD_INTERFACE:${PROJECT_SOURCE_DIR}>
                          $<BUILD_INTERFACE:${PROJECT_SOURCE_DIR}/src>
                          $<INSTALL_INTERFACE:${CMAKE_INSTALL_INCLUDEDIR}/lowbank>)
set_property(GLOBAL PROPERTY LOWBANK_ROOMS lowbank_flags)

if(LOWBANK_TORCH)
  set(CMAKE_BUILD_RPATH ${LibTorch_RPATH})
  set(CMAKE_INSTALL_RPATH $ORIGIN/../${CMAKE_INSTALL_LIBDIR} ${LibTorch_RPATH})
  if(LOWBANK_PCH)
    file(WRITE ${PROJECT_BINARY_DIR}/torch_pch.cpp "")
    add_library(lowbank_torch_pch OBJECT ${PROJECT_BINARY_DIR}/torch_pch.cpp)
    target_link_libraries(lowbank_torch_pch PRIVATE lowbank_flags LibTorch::LibTorch)
    target_precompile_headers(
      lowbank_torch_pch PRIVATE <torch/types.h> <torch/nn/cloneable.h> <torch/nn/pimpl.h>
      <ATen/Parallel.h> <torch/csrc/autograd/custom_function.h>)
  endif()
endif()

function(_lowbank_flavour target is_torch)
  if(is_torch)
    target_link_libraries(${target} PUBLIC LibTorch::LibTorch)
    if(LOWBANK_PCH)
      target_precompile_headers(${target} REUSE_FROM lowbank_torch_pch)
      # The header was precompiled with -fPIC; GCC ignores it under the -fPIE of an executable.
      set_target_properties(${target} PROPERTIES POSITION_INDEPENDENT_CODE OFF)
      target_compile_options(${target} PRIVATE -fPIC)
    endif()
  else()
    target_compile_options(${target} PRIVATE -Wconversion)
  endif()
endfunction()

# lowbank_library(<room> [TORCH] SOURCES ... [DEPS targets ...] [PRIVATE_DEPS targets ...])
# Makes the static library lowbank_<room>, exported as Lowbank::<room>.
function(lowbank_library room)
  cmake_parse_arguments(ARG "TORCH" "" "SOURCES;DEPS;PRIVATE_DEPS" ${ARGN})
  set(target lowbank_${room})
  add_library(${target} STATIC ${ARG_SOURCES})
  set_target_properties(${target} PROPERTIES EXPORT_NAME ${room} UNITY_BUILD_BATCH_SIZE 16)
  target_link_libraries(${target} PUBLIC lowbank_flags ${ARG_DEPS} PRIVATE ${ARG_PRIVATE_DEPS})
  _lowbank_flavour(${target} "${ARG_TORCH}")
  set_property(GLOBAL APPEND PROPERTY LOWBANK_ROOMS ${target})
endfunction()

# lowbank_test(<name> [TORCH] LABEL unit|parity|stage|slow SOURCES ... DEPS ...)
# One binary and one ctest entry: a torch process takes half a second to start.
function(lowbank_test name)
  cmake_parse_arguments(ARG "TORCH" "LABEL" "SOURCES;DEPS" ${ARGN})
  if(ARG_TORCH)
    set(main ${PROJECT_SOURCE_DIR}/tests/torch_test_main.cpp)
  else()
    set(main ${PROJECT_SOURCE_DIR}/tests/base_test_main.cpp)
  endif()
  add_executable(${name} ${ARG_SOURCES} ${main})
  set_target_properties(${name} PROPERTIES UNITY_BUILD_BATCH_SIZE 16
                        RUNTIME_OUTPUT_DIRECTORY ${PROJECT_BINARY_DIR}/tests)
  target_link_libraries(${name} PRIVATE ${ARG_DEPS} GTest::gtest GTest::gmock fmt::fmt
                                        nlohmann_json::nlohmann_json)
  target_include_directories(${name} PRIVATE ${PROJECT_SOURCE_DIR}/tests)
  target_compile_definitions(${name} PRIVATE
    LOWBANK_SOURCE_DIR="${PROJECT_SOURCE_DIR}" LOWBANK_BIN_DIR="${PROJECT_BINARY_DIR}/bin")
  _lowbank_flavour(${name} "${ARG_TORCH}")
  # Compiling the tests takes longer than running them.
  target_compile_options(${name} PRIVATE -Wno-conversion -O1)
  add_test(NAME ${name} COMMAND ${name})
  set_tests_properties(${name} PROPERTIES LABELS ${ARG_LABEL} TIMEOUT 600)
endfunction()

# lowbank_command(<stage> DEPS ...): the executable lowbank-<stage>, whose main starts the function
# of stages/<stage>_stage.h. Mains include no torch header, so they compile in a second whatever they
# link.
function(lowbank_command stage)
  cmake_parse_arguments(ARG "" "" "DEPS" ${ARGN})
  string(REPLACE "-" "_" file ${stage})
  string(REPLACE "_" ";" words ${file})
  set(type "")
  foreach(word ${words})
    string(SUBSTRING ${word} 0 1 first)
    string(SUBSTRING ${word} 1 -1 rest)
    string(TOUPPER ${first} first)
    string(APPEND type ${first}${rest})
  endforeach()
  set(target lowbank-${stage})
  configure_file(${PROJECT_SOURCE_DIR}/stages/main.cpp.in ${PROJECT_BINARY_DIR}/mains/${file}_main.cpp @ONLY)
  add_executable(${target} ${PROJECT_BINARY_DIR}/mains/${file}_main.cpp)
  set_target_properties(${target} PROPERTIES UNITY_BUILD OFF)
  target_link_libraries(${target} PRIVATE ${ARG_DEPS})
  set_property(GLOBAL APPEND PROPERTY LOWBANK_COMMANDS ${target})
endfunction()
