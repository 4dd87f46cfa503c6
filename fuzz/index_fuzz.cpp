// model.safetensors.index.json over two shards.
#include "archive_fuzz.h"
#include "fuzz_file.h"
#include "io/safetensors.h"

extern "C" int LLVMFuzzerTestOneInput(const std::uint8_t* data, std::size_t size) {
  using namespace lowbank;
  const std::string& folder = fuzz::fuzz_folder();
  static const bool ready = [&] {
    const std::vector<std::byte> zeros(8);
    write_safetensors(folder + "/1.safetensors", {{"a", ElementType::kF32, {2}, zeros}});
    write_safetensors(folder + "/2.safetensors", {{"b", ElementType::kF32, {2}, zeros}});
    return true;
  }();
  if (!ready) return 0;
  const std::string index = folder + "/model.safetensors.index.json";
  std::filesystem::remove(index);
  const fuzz::FuzzFile file(data, size);
  std::filesystem::create_symlink(file.path(), index);
  try {
    fuzz::read_all(*open_weights_folder(folder));
  } catch (const Error&) {
  }
  return 0;
}
