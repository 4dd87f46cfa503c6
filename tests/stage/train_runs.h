#pragma once

#include <chrono>
#include <csignal>
#include <fcntl.h>
#include <filesystem>
#include <string>
#include <sys/types.h>
#include <sys/wait.h>
#include <thread>
#include <unistd.h>
#include <vector>

#include <gtest/gtest.h>
#include <nlohmann/json.hpp>

#include "core/text.h"
#include "run_command.h"
#include "temp_folder.h"

namespace lowbank::testing {

/// The trained stories model as a checkpoint, converted once for all tests of a binary.
class TrainStage : public ::testing::Test {
 protected:
  static void SetUpTestSuite() {
    shared_ = new TempFolder();
    const std::string samples = LOWBANK_SOURCE_DIR "/data/samples/";
    const auto result =
        run_command("lowbank-convert", {samples + "stories260K/stories260K.bin", model(),
                                        "--tokenizer", samples + "stories260K/tok512.model"});
    ASSERT_EQ(result.exit_code, 0) << result.err;
    const std::string text = read_text(samples + "tinyshakespeare/train.txt");
    shared_->file("train.txt", text.substr(0, 24000));
    shared_->file("valid.txt", text.substr(500000, 4000));
  }
  static void TearDownTestSuite() {
    delete shared_;
    shared_ = nullptr;
  }
  static std::string model() { return shared_->path("model"); }

  /// Words that train 12 short steps, saved every fourth.
  static std::vector<std::string> short_training() {
    std::vector<std::string> words = {"--threads", "1", "--seed", "5"};
    for (const auto& setting :
         {"data.train=" + shared_->path("train.txt"), "data.valid=" + shared_->path("valid.txt"),
          std::string("data.context=64"), std::string("train.steps=12"),
          std::string("train.warmup_steps=2"), std::string("train.micro_batch_size=8"),
          std::string("train.eval_every=5"), std::string("train.save_every=4")}) {
      words.insert(words.end(), {"--set", setting});
    }
    return words;
  }

  /// Starts a command, sends it `signal` when metrics.jsonl has `num_lines` lines, and returns its
  /// wait status.
  static int run_and_signal(const std::string& name, const std::vector<std::string>& words,
                            const std::string& run_folder, std::size_t num_lines, int signal) {
    const std::string program = std::string(LOWBANK_BIN_DIR "/") + name;
    std::vector<char*> argv = {const_cast<char*>(program.c_str())};
    for (const auto& word : words) argv.push_back(const_cast<char*>(word.c_str()));
    argv.push_back(nullptr);
    const pid_t child = fork();
    if (child == 0) {
      const int null = open("/dev/null", O_WRONLY);
      dup2(null, STDOUT_FILENO);
      dup2(null, STDERR_FILENO);
      execv(program.c_str(), argv.data());
      _exit(127);
    }
    const std::string metrics = run_folder + "/metrics.jsonl";
    int status = 0;
    while (waitpid(child, &status, WNOHANG) == 0) {
      if (std::filesystem::exists(metrics) && split_lines(read_text(metrics)).size() >= num_lines) {
        kill(child, signal);
        waitpid(child, &status, 0);
        break;
      }
      std::this_thread::sleep_for(std::chrono::milliseconds(2));
    }
    return status;
  }

  /// Parses a JSON or JSON lines file and drops what depends on time.
  static std::vector<nlohmann::ordered_json> without_time(const std::string& path) {
    std::vector<nlohmann::ordered_json> values;
    const std::string text = read_text(path);
    if (path.ends_with(".jsonl")) {
      for (const auto line : split_lines(text))
        values.push_back(nlohmann::ordered_json::parse(line));
    } else {
      values.push_back(nlohmann::ordered_json::parse(text));
    }
    for (auto& value : values) {
      value.erase("tokens_per_second");
      value.erase("seconds");
    }
    return values;
  }

  static TempFolder* shared_;
  TempFolder folder_;
};

inline TempFolder* TrainStage::shared_ = nullptr;

}  // namespace lowbank::testing
