#include "kernels/cuda_library.h"

#include <dlfcn.h>
#include <filesystem>
#include <type_traits>

namespace lowbank {
namespace {

struct OpenedLibrary {
  CudaLibrary functions;
  std::string problem;

  OpenedLibrary() {
    std::error_code error;
    const auto self = std::filesystem::read_symlink("/proc/self/exe", error);
    const auto path = self.parent_path() / "liblowbank_cuda.so";
    void* const handle = dlopen(path.c_str(), RTLD_NOW | RTLD_LOCAL);
    if (handle == nullptr) {
      problem = std::string(dlerror()) + "; build with -DLOWBANK_CUDA=ON";
      return;
    }
    bool is_whole = true;
    const auto look_up = [&](auto& function, const char* name) {
      function = reinterpret_cast<std::decay_t<decltype(function)>>(dlsym(handle, name));
      is_whole = is_whole && function != nullptr;
    };
    look_up(functions.normal_fill, "lowbank_cuda_normal_fill");
    look_up(functions.scan_forward, "lowbank_cuda_scan_forward");
    look_up(functions.scan_backward, "lowbank_cuda_scan_backward");
    look_up(functions.conv_forward, "lowbank_cuda_conv_forward");
    look_up(functions.conv_backward, "lowbank_cuda_conv_backward");
    look_up(functions.error_text, "lowbank_cuda_error_text");
    if (!is_whole) {
      problem = path.string() + ": is of another version of Lowbank; build it again";
    }
  }
};

const OpenedLibrary& opened_library() {
  static const OpenedLibrary library;
  return library;
}

}  // namespace

const CudaLibrary* cuda_library() {
  return opened_library().problem.empty() ? &opened_library().functions : nullptr;
}

const std::string& cuda_library_problem() { return opened_library().problem; }

}  // namespace lowbank
