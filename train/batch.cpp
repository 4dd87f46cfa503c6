#include "train/batch.h"

namespace lowbank {

Batch to_device(Batch batch, c10::Device device) {
  for (auto* tensor :
       {&batch.input.ids_BT, &batch.input.mask_BT, &batch.input.token_types_BT, &batch.targets}) {
    if (tensor->defined()) *tensor = tensor->to(device);
  }
  return batch;
}

}  // namespace lowbank
