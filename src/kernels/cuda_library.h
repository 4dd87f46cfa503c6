#pragma once

#include <string>

#include "kernels/cuda/cuda_api.h"

namespace lowbank {

/// The functions of liblowbank_cuda.so.
struct CudaLibrary {
  decltype(&lowbank_cuda_normal_fill) normal_fill = nullptr;
  decltype(&lowbank_cuda_scan_forward) scan_forward = nullptr;
  decltype(&lowbank_cuda_scan_backward) scan_backward = nullptr;
  decltype(&lowbank_cuda_conv_forward) conv_forward = nullptr;
  decltype(&lowbank_cuda_conv_backward) conv_backward = nullptr;
  decltype(&lowbank_cuda_error_text) error_text = nullptr;
};

/// The library next to this program's executable, or nullptr if it was not built or cannot be
/// loaded (`cuda_library_problem` says why). The library is opened once.
const CudaLibrary* cuda_library();

/// "" if cuda_library() works, else one line that says what is missing and how to get it.
const std::string& cuda_library_problem();

}  // namespace lowbank
