#include "pim/preset.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>
#include <nlohmann/json.hpp>

#include "core/error.h"
#include "core/json.h"
#include "temp_folder.h"

namespace lowbank::pim {
namespace {

using ::testing::AllOf;
using ::testing::HasSubstr;
using Json = nlohmann::ordered_json;

Json preset_json(const std::string& name) {
  return read_json(std::string(LOWBANK_SOURCE_DIR) + "/configs/pim/" + name + ".json");
}

std::string preset_error(const Json& document) {
  try {
    preset_from_json(document.dump(), "test", "p.json");
    return "";
  } catch (const ConfigError& e) {
    return e.what();
  }
}

TEST(PresetTest, EveryShippedPresetLoadsWithASourceForEachConstant) {
  EXPECT_THAT(system_names(), ::testing::IsSupersetOf({"gpu-a100", "gpu-b200", "hbm-pim-h100",
                                                       "pimba-a100", "rram-hyflexpim"}));
  EXPECT_THAT(system_names(), ::testing::Not(::testing::Contains("memory-a100")));
  for (const auto& name : system_names()) {
    const SystemPreset preset = load_preset(name);
    EXPECT_FALSE(preset.about.empty()) << name;
    for (const auto& constant : preset.constants) {
      EXPECT_FALSE(constant.source.empty()) << name << " " << constant.key;
    }
  }
  EXPECT_EQ(load_preset("gpu-a100").value("memory_bytes_per_s"), 1.935e12);
}

TEST(PresetTest, AMachineAsBuiltMayDifferFromTheReferences) {
  const SystemPreset preset = load_preset("gpu-b200");
  EXPECT_EQ(preset.with_hardware(/*as_built=*/true).value("num_cores"), 148);
  EXPECT_EQ(preset.with_hardware(/*as_built=*/false).value("num_cores"), 264);
  EXPECT_EQ(preset.with_hardware(/*as_built=*/false).value("l1_bytes"), 512);
}

TEST(PresetTest, AGpuWithComputingMemoryIsPutTogetherOfItsParts) {
  const SystemPreset preset = load_preset("pimba-h100");
  EXPECT_EQ(preset.gpu, "gpu-h100");
  EXPECT_EQ(preset.value("clock_mhz"), 2626);
  EXPECT_EQ(preset.value("element_bytes"), 1);
  EXPECT_THAT(preset_error({{"kind", "hbm-pim"},
                            {"about", "x"},
                            {"gpu", "gpu-a100"},
                            {"memory", "gpu-a100"},
                            {"unit", "unit-pimba"}}),
              HasSubstr("is of kind gpu; a memory is needed here"));
  // A machine that is its own part would never end.
  EXPECT_THAT(preset_error({{"kind", "hbm-pim"},
                            {"about", "x"},
                            {"gpu", "pimba-a100"},
                            {"memory", "memory-a100"},
                            {"unit", "unit-pimba"}}),
              HasSubstr("cannot be a part"));
  EXPECT_THAT(
      preset_error(
          {{"kind", "hbm-pim"}, {"about", "x"}, {"gpu", "gpu-a100"}, {"unit", "unit-pimba"}}),
      HasSubstr("'memory'"));
}

TEST(PresetTest, AFileOfThatFormIsASystemToo) {
  const lowbank::testing::TempFolder folder;
  Json document = preset_json("gpu-a100");
  document["constants"]["num_cores"]["value"] = 7;
  const SystemPreset preset = load_preset(folder.file("mine.json", document.dump()));
  EXPECT_EQ(preset.name, "mine");
  EXPECT_EQ(preset.value("num_cores"), 7);
}

TEST(PresetTest, AnUnknownSystemIsAnsweredWithTheNearestAndAllNames) {
  try {
    load_preset("gpu-a10");
    FAIL();
  } catch (const ConfigError& e) {
    EXPECT_THAT(e.what(), AllOf(HasSubstr("did you mean 'gpu-a100'"), HasSubstr("rram-hyflexpim")));
  }
  EXPECT_THROW(load_preset("/nonexistent/mine.json"), IoError);
}

TEST(PresetTest, AConstantWithoutASourceIsRefused) {
  Json document = preset_json("gpu-a100");
  document["constants"]["l2_bytes"].erase("source");
  EXPECT_THAT(preset_error(document),
              AllOf(HasSubstr("constants.l2_bytes"), HasSubstr("'source'")));
  document["constants"]["l2_bytes"]["source"] = "";
  EXPECT_THAT(preset_error(document), AllOf(HasSubstr("constants.l2_bytes"), HasSubstr("source")));
}

TEST(PresetTest, UnknownAndMissingKeysAreRefusedByName) {
  Json document = preset_json("gpu-a100");
  document["constants"]["l2_byte"] = document["constants"]["l2_bytes"];
  EXPECT_THAT(preset_error(document), HasSubstr("did you mean 'l2_bytes'"));
  document = preset_json("gpu-a100");
  document["constants"].erase("l2_bytes");
  EXPECT_THAT(preset_error(document), HasSubstr("constants: key 'l2_bytes' is missing"));
  document = preset_json("gpu-a100");
  document["constants"]["l2_bytes"]["sorce"] = "x";
  EXPECT_THAT(preset_error(document), HasSubstr("did you mean 'source'"));
  document = preset_json("gpu-a100");
  document["kind"] = "gpus";
  EXPECT_THAT(preset_error(document), HasSubstr("did you mean 'gpu'"));
}

TEST(PresetTest, AnOptionalConstantMayBeLeftOutAndIsCheckedWhereItIsGiven) {
  EXPECT_EQ(load_preset("gpu-a100").find("memory_capacity_bytes"), 80e9);
  Json document = preset_json("gpu-a100");
  document["constants"]["memory_capacity_bytes"]["value"] = 0;
  EXPECT_THAT(preset_error(document), HasSubstr("memory_capacity_bytes"));
  document["constants"].erase("memory_capacity_bytes");
  const SystemPreset preset = preset_from_json(document.dump(), "test", "p.json");
  EXPECT_EQ(preset.find("memory_capacity_bytes"), std::nullopt);
  EXPECT_THROW(preset.value("memory_capacity_bytes"), std::logic_error);
  EXPECT_EQ(preset_from_json(preset_to_json(preset), "test", "p.json").constants.size(),
            preset.constants.size());
}

TEST(PresetTest, AnotherUnitOrAValueOutOfRangeIsRefused) {
  Json document = preset_json("gpu-a100");
  document["constants"]["memory_bytes_per_s"]["unit"] = "GB/s";
  EXPECT_THAT(preset_error(document), HasSubstr("unit: must be 'B/s'; got 'GB/s'"));
  document = preset_json("gpu-a100");
  document["constants"]["memory_frac"]["value"] = 1.5;
  EXPECT_THAT(preset_error(document), HasSubstr("in (0, 1]; got 1.5"));
  document = preset_json("gpu-a100");
  document["constants"]["num_cores"]["value"] = 0;
  EXPECT_THAT(preset_error(document), HasSubstr("num_cores"));
  document["constants"]["num_cores"]["value"] = "many";
  EXPECT_THAT(preset_error(document), HasSubstr("must be a number"));
}

}  // namespace
}  // namespace lowbank::pim
