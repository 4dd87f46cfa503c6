// The file, the model it describes, and its values.
#include <nlohmann/json.hpp>

#include "archive_fuzz.h"
#include "fuzz_file.h"
#include "io/families/families.h"
#include "io/gguf.h"
#include "io/gguf_model.h"

extern "C" int LLVMFuzzerTestOneInput(const std::uint8_t* data, std::size_t size) {
  using namespace lowbank;
  const fuzz::FuzzFile fuzzed(data, size);
  try {
    const auto file = GgufFile::open(fuzzed.path());
    fuzz::read_all(*file);
    const auto config = config_from_gguf(*file);
    const std::string architecture = file->text("general.architecture");
    for (const auto& entry : file->entries()) {
      const auto name = hugging_face_name(architecture, entry.name);
      if (!name) continue;
      if (gguf_name(architecture, *name) != entry.name) std::abort();
      transform_from_gguf(config, *name);
    }
    model_parameters(config, "fuzz");
  } catch (const Error&) {
  }
  return 0;
}
