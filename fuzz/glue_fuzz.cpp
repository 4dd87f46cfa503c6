#include "core/error.h"
#include "data/glue.h"
#include "fuzz_file.h"

extern "C" int LLVMFuzzerTestOneInput(const std::uint8_t* data, std::size_t size) {
  using namespace lowbank;
  const fuzz::FuzzFile file(data, size);
  for (const auto* task : {"sts-b", "mrpc"}) {
    try {
      read_glue(glue_task(task), file.path(), GlueSplit::kDev);
    } catch (const Error&) {
    }
  }
  return 0;
}
