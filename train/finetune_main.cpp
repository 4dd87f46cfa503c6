#include "config/run_stage.h"
#include "train/finetune_stage.h"

int main(int argc, char** argv) {
  return lowbank::run_stage<lowbank::FinetuneConfig>(argc, argv, lowbank::finetune_stage);
}
