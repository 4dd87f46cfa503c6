// Both forms of torch.save: zip archive and legacy stream.
#include "archive_fuzz.h"
#include "fuzz_file.h"
#include "io/torch_file.h"

extern "C" int LLVMFuzzerTestOneInput(const std::uint8_t* data, std::size_t size) {
  using namespace lowbank;
  const fuzz::FuzzFile file(data, size);
  try {
    fuzz::read_all(*TorchFile::open(file.path()));
  } catch (const Error&) {
  }
  return 0;
}
