// importance.safetensors of a checkpoint folder.
#include "core/error.h"
#include "fuzz_file.h"
#include "io/importance.h"

extern "C" int LLVMFuzzerTestOneInput(const std::uint8_t* data, std::size_t size) {
  using namespace lowbank;
  const std::string path = importance_path(fuzz::fuzz_folder());
  const fuzz::FuzzFile file(data, size);
  std::filesystem::remove(path);
  std::filesystem::create_symlink(file.path(), path);
  for (const auto* measure : {"abs_grad", "magnitude"}) {
    try {
      read_importance_values(fuzz::fuzz_folder(), measure);
    } catch (const Error&) {
    }
  }
  return 0;
}
