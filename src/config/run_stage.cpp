#include "config/run_stage.h"

#include <algorithm>
#include <chrono>
#include <cstdlib>
#include <filesystem>
#include <new>
#include <string>
#include <system_error>
#include <vector>

#include <fmt/format.h>
#include <nlohmann/json.hpp>

#include "config/command_line.h"
#include "config/output_rules.h"
#include "core/atomic_file.h"
#include "core/error.h"
#include "core/interrupt.h"
#include "core/log.h"
#include "core/memory.h"
#include "core/opened_files.h"

namespace lowbank {
namespace {

int fail(const std::string& name, int exit_code, std::string message) {
  if (const auto end = message.find('\n'); end != std::string::npos) message.resize(end);
  // Text from a file may hold control characters, which must not reach the terminal.
  std::replace_if(
      message.begin(), message.end(), [](unsigned char c) { return c < 0x20 || c == 0x7F; }, '?');
  error_line(fmt::format("lowbank{}{}: {}", name.empty() ? "" : " ", name, message));
  return exit_code;
}

// LibTorch reports a failed allocation as a plain c10::Error, which this room does not know.
bool is_out_of_memory(const std::string& message) {
  return message.find("can't allocate memory") != std::string::npos ||
         message.find("out of memory") != std::string::npos;
}

}  // namespace

int guarded_main(const std::string& name, const std::function<int()>& body) {
  try {
    return body();
  } catch (const Error& e) {
    return fail(name, e.exit_code(), e.what());
  } catch (const std::bad_alloc&) {
    return fail(name, kExitEnvironment, "out of memory; try a smaller batch or context");
  } catch (const std::system_error& e) {  // std::filesystem's, mostly
    return fail(name, kExitEnvironment, e.what());
  } catch (const std::exception& e) {
    if (is_out_of_memory(e.what())) {
      return fail(name, kExitEnvironment, std::string("out of memory: ") + e.what());
    }
    return fail(name, kExitBug, std::string("internal error, please report it: ") + e.what());
  }
}

int run_stage_erased(int argc, char** argv, StageConfig& config,
                     const std::function<void(RunDir*, Metrics&)>& body) {
  const CommandInfo info = config.info();
  return guarded_main(info.name, [&] {
    install_signal_handlers();
    keep_tensor_memory();
    if (parse_command_line(std::vector<std::string>(argv + 1, argv + argc), config) ==
        ParseOutcome::kHelpShown) {
      return kExitOk;
    }
    forget_opened_files();  // the recipe's: its content is in the settings
    check_outputs(config);
    const char* const label = std::getenv("LOWBANK_STAGE_LABEL");
    configure_log({.quiet = config.common.quiet,
                   .json = config.common.json,
                   .stage_label = label != nullptr ? label : ""});
    Metrics metrics = Metrics::object();
    const auto start = std::chrono::steady_clock::now();
    const auto seconds = [&] {
      return std::chrono::duration<double>(std::chrono::steady_clock::now() - start).count();
    };
    if (const std::string folder = config.run_folder(); !folder.empty()) {
      RunDir out(folder, config);
      try {
        body(&out, metrics);
      } catch (const Interrupted&) {
        out.keep();
        throw;
      } catch (const DamagedRecord& e) {
        out.keep();
        if (label == nullptr) throw;
        warn("{}", e.what());
        return kExitStartAnew;
      }
      out.begin();
      out.write_metrics(metrics);
      out.finish(seconds());
      note("the results are in {}", folder);
    } else {
      if (config.info().has_run_dir) {
        remove_dead_temporaries(std::filesystem::path(config.common.out).parent_path().string());
      }
      body(nullptr, metrics);
      if (!config.common.out.empty()) note("the result is {}", config.common.out);
    }
    if (config.common.json) {
      configure_log({.quiet = true});
      print_line(metrics.dump(-1, ' ', false, Metrics::error_handler_t::replace));
    }
    return kExitOk;
  });
}

}  // namespace lowbank
