# Finds LibTorch in the layout of the PyPI wheel. It does not use TorchConfig.cmake, which requires a
# CUDA toolkit if the wheel was built with CUDA, even if only the CPU part is used.
#
# Root:    LOWBANK_TORCH_ROOT (cache or environment), else third_party/libtorch/torch.
# Targets: LibTorch::LibTorch (headers, flags, torch_cpu and c10), LibTorch::torch_cpu, LibTorch::c10;
#          with LOWBANK_CUDA also LibTorch::c10_cuda and LibTorch::torch_cuda.
# Sets:    LibTorch_FOUND, LibTorch_VERSION, LibTorch_ROOT_DIR, LibTorch_RPATH (for the executables).

set(_version_wanted 2.11)
if(LOWBANK_TORCH_ROOT)
  set(_root ${LOWBANK_TORCH_ROOT})
elseif(DEFINED ENV{LOWBANK_TORCH_ROOT} AND NOT "$ENV{LOWBANK_TORCH_ROOT}" STREQUAL "")
  set(_root $ENV{LOWBANK_TORCH_ROOT})
else()
  set(_root ${CMAKE_CURRENT_LIST_DIR}/../third_party/libtorch/torch)
endif()
get_filename_component(_root "${_root}" REALPATH BASE_DIR "${CMAKE_BINARY_DIR}")

set(_problem "")
set(_version_header ${_root}/include/torch/headeronly/version.h)
if(NOT EXISTS ${_root}/lib/libtorch_cpu.so OR NOT EXISTS ${_root}/lib/libc10.so)
  set(_problem "there is no LibTorch in ${_root}")
elseif(NOT EXISTS ${_version_header})
  set(_problem "the LibTorch in ${_root} has no headers, or is older than ${_version_wanted}")
else()
  file(STRINGS ${_version_header} _line REGEX "^ *\"[0-9.]+\"")
  string(REGEX MATCH "[0-9.]+" LibTorch_VERSION "${_line}")
  # A library with the old string ABI would show only as undefined symbols at link time.
  file(STRINGS ${_root}/lib/libc10.so _cxx11 REGEX "St7__cxx11" LIMIT_COUNT 1)
  if(NOT LibTorch_VERSION MATCHES "^2\\.11(\\.|$)")
    set(_problem "needs LibTorch ${_version_wanted}, ${_root} has ${LibTorch_VERSION}")
  elseif(NOT _cxx11)
    set(_problem "the LibTorch in ${_root} was built with _GLIBCXX_USE_CXX11_ABI=0")
  endif()
endif()

if(_problem)
  set(LibTorch_FOUND FALSE)
  set(_hint "Run scripts/setup.sh, or set LOWBANK_TORCH_ROOT to the folder with include/ and lib/.")
  if(LibTorch_FIND_REQUIRED)
    message(FATAL_ERROR "LibTorch: ${_problem}. ${_hint}")
  elseif(NOT LibTorch_FIND_QUIETLY)
    message(STATUS "LibTorch: ${_problem}. ${_hint}")
  endif()
  return()
endif()

set(LibTorch_FOUND TRUE)
set(LibTorch_ROOT_DIR ${_root})
set(LibTorch_RPATH ${_root}/lib)
get_filename_component(_cuda_root ${_root}/../nvidia/cu13 ABSOLUTE)
if(EXISTS ${_cuda_root}/lib)
  list(APPEND LibTorch_RPATH ${_cuda_root}/lib)
endif()
if(NOT LibTorch_FIND_QUIETLY AND NOT TARGET LibTorch::LibTorch)
  message(STATUS "Found LibTorch ${LibTorch_VERSION}: ${_root}")
endif()

function(_libtorch_add name)
  if(NOT TARGET LibTorch::${name})
    add_library(LibTorch::${name} SHARED IMPORTED)
    set_target_properties(LibTorch::${name} PROPERTIES
      IMPORTED_LOCATION ${LibTorch_ROOT_DIR}/lib/lib${name}.so INTERFACE_LINK_LIBRARIES "${ARGN}")
  endif()
endfunction()

_libtorch_add(c10)
_libtorch_add(torch_cpu LibTorch::c10)
if(NOT TARGET LibTorch::LibTorch)
  add_library(LibTorch::LibTorch INTERFACE IMPORTED)
  # LibTorch's include folder has a copy of fmt that hides the system's, but no library for it: users
  # of LibTorch compile fmt header-only.
  # at::parallel_for is a template around an OpenMP pragma, hence the flag for its users.
  set_target_properties(LibTorch::LibTorch PROPERTIES
    INTERFACE_INCLUDE_DIRECTORIES "${_root}/include;${_root}/include/torch/csrc/api/include"
    INTERFACE_COMPILE_DEFINITIONS "_GLIBCXX_USE_CXX11_ABI=1;AT_PER_OPERATOR_HEADERS;FMT_HEADER_ONLY"
    INTERFACE_COMPILE_OPTIONS "$<$<COMPILE_LANGUAGE:CXX>:-fopenmp>"
    INTERFACE_LINK_OPTIONS -fopenmp
    INTERFACE_LINK_LIBRARIES "LibTorch::torch_cpu;LibTorch::c10")
endif()
if(LOWBANK_CUDA)
  if(NOT EXISTS ${_root}/lib/libtorch_cuda.so)
    message(FATAL_ERROR "LibTorch: LOWBANK_CUDA needs libtorch_cuda.so, ${_root}/lib has none")
  endif()
  _libtorch_add(c10_cuda LibTorch::c10)
  _libtorch_add(torch_cuda LibTorch::c10_cuda LibTorch::torch_cpu)
  # libtorch_cuda needs libraries that only `setup.sh --cuda` installs. They are needed at run time.
  set_property(TARGET LibTorch::torch_cuda PROPERTY INTERFACE_LINK_OPTIONS
                                                    -Wl,--allow-shlib-undefined)
endif()
