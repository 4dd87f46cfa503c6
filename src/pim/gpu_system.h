#pragma once

#include <memory>

#include "pim/estimator.h"

namespace lowbank::pim {

/// Operators that run one after another on a GPU.
std::unique_ptr<System> make_gpu_system(const SystemPreset& preset, const SystemOptions& options);

/// The same with decode's attention in the GPU's memory; `preset` of kind hbm-pim.
std::unique_ptr<System> make_hbm_pim_system(const SystemPreset& preset, const SystemPreset& gpu,
                                            const SystemOptions& options);

}  // namespace lowbank::pim
