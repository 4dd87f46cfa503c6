#include "core/error.h"
#include "fuzz_file.h"
#include "pim/workload.h"

extern "C" int LLVMFuzzerTestOneInput(const std::uint8_t* data, std::size_t size) {
  using namespace lowbank;
  try {
    const auto workload =
        pim::workload_from_json(std::string(reinterpret_cast<const char*>(data), size), "fuzz");
    pim::workload_from_json(pim::workload_to_json(workload), "written again");
  } catch (const Error&) {
  }
  return 0;
}
