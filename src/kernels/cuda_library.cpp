#include "kernels/cuda_library.h"

#include <dlfcn.h>
#include <filesystem>

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
    functions.normal_fill = reinterpret_cast<decltype(functions.normal_fill)>(
        dlsym(handle, "lowbank_cuda_normal_fill"));
    functions.error_text =
        reinterpret_cast<decltype(functions.error_text)>(dlsym(handle, "lowbank_cuda_error_text"));
    if (functions.normal_fill == nullptr || functions.error_text == nullptr) {
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
