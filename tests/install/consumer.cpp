// Uses rooms without LibTorch: headers are found, the libraries link, and they answer right.
#include <cstdio>

#include "core/philox.h"
#include "pim/workload.h"

int main() {
  // The known answer of Philox 4x32-10 for an all-zero counter and key.
  const bool philox_ok = lowbank::philox4x32({0, 0, 0, 0}, {0, 0})[0] == 0x6627e8d5u;

  lowbank::pim::Workload workload;
  workload.model = "consumer";
  const bool workload_ok =
      lowbank::pim::workload_to_json(workload).find("\"consumer\"") != std::string::npos;

  std::printf("installed core: %s, pim: %s\n", philox_ok ? "ok" : "wrong",
              workload_ok ? "ok" : "wrong");
  return philox_ok && workload_ok ? 0 : 1;
}
