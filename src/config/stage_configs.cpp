#include "config/stage_configs.h"

#include <cmath>
#include <filesystem>
#include <functional>
#include <set>
#include <utility>

#include <fmt/format.h>
#include <fmt/ranges.h>
#include <nlohmann/json.hpp>

#include "core/error.h"

namespace lowbank {
namespace {

void append(Fields& fields, Fields more) {
  for (auto& field : more) fields.push_back(std::move(field));
}

Field checkpoint_field(std::string* target) {
  return Field("checkpoint", target, "checkpoint folder, or a run folder that holds one")
      .input()
      .required();
}

Field resume_field(bool* target) {
  return Field("resume", target, "go on from the run folder's last saved point").no_effect();
}

}  // namespace

Fields TextDataConfig::fields() {
  return {Field("train", &train, "text to learn from, UTF-8").input(),
          Field("valid", &valid, "held-out text, UTF-8").input(),
          Field("context", &context, "length of an example").at_least(2).unit("tokens")};
}

Fields TableConfig::fields() {
  return {Field("sentence", &sentence, "column of the sentence"),
          Field("second_sentence", &second_sentence,
                "column of the second sentence of a pair; empty: single sentences"),
          Field("label", &label, "column of the class or the number"),
          Field("classes", &classes,
                "what the label column may say, class 0 first; empty: numbers (regression)")};
}

void TableConfig::validate() const {
  for (const auto& [key, column] : {std::pair("sentence", &sentence), {"label", &label}}) {
    if (column->empty())
      throw ConfigError(fmt::format("table.{}: names a column; it is empty", key));
  }
  if (classes.size() == 1) {
    throw ConfigError("table.classes: must be two or more, or none for numbers; got '" +
                      classes[0] + "' alone");
  }
  if (const std::set<std::string> once(classes.begin(), classes.end());
      once.size() != classes.size()) {
    throw ConfigError(
        fmt::format("table.classes: lists a class twice: {}", fmt::join(classes, ", ")));
  }
}

Fields TrainConfig::fields() {
  return {
      Field("steps", &steps, "optimizer steps").at_least(0),
      Field("micro_batch_size", &micro_batch_size, "examples per forward pass").at_least(1),
      Field("grad_accum_steps", &grad_accum_steps, "forward passes per step").at_least(1),
      Field("learning_rate", &learning_rate, "peak learning rate").above(0),
      Field("min_learning_rate_frac", &min_learning_rate_frac, "last rate as a part of the peak")
          .at_least(0)
          .at_most(1),
      Field("schedule", &schedule, "after the warm-up").one_of({"cosine", "linear", "constant"}),
      Field("warmup_steps", &warmup_steps, "linear warm-up").at_least(0).unit("steps"),
      Field("weight_decay", &weight_decay, "decoupled, on matrices only").at_least(0),
      Field("beta1", &beta1, "AdamW first-moment decay").at_least(0).below(1),
      Field("beta2", &beta2, "AdamW second-moment decay").at_least(0).below(1),
      Field("eps", &eps, "AdamW denominator offset").above(0),
      Field("max_grad_norm", &max_grad_norm, "clip the gradient's 2-norm; 0 = off").at_least(0),
      Field("eval_every", &eval_every, "steps between validations; 0 = at the end").at_least(0),
      Field("eval_max_chunks", &eval_max_chunks, "held-out chunks per validation; 0 = all")
          .at_least(0),
      Field("save_every", &save_every, "steps between resume points; 0 = when interrupted")
          .at_least(0)
          .no_effect()};
}

void TrainConfig::validate() const {
  if (warmup_steps > steps) {
    throw ConfigError(fmt::format("train.warmup_steps: must be <= train.steps ({}); got {}", steps,
                                  warmup_steps));
  }
}

Fields PerplexityConfig::fields() {
  return {Field("data", &data, "text file (UTF-8)").input(),
          Field("context", &context, "tokens per chunk").at_least(2).unit("tokens"),
          Field("stride", &stride, "tokens between windows; 0 = context").at_least(0),
          Field("max_chars", &max_chars, "code points of the text to use; 0 = all").at_least(0),
          Field("max_chunks", &max_chunks, "chunks to score; 0 = all").at_least(0),
          Field("batch_size", &batch_size, "chunks per forward pass").at_least(1),
          Field("keep_last", &keep_last, "score an incomplete last chunk too"),
          Field("special", &special, "add the tokenizer's special tokens to the text")};
}

void PerplexityConfig::validate() const {
  if (data.empty()) throw ConfigError("data is missing: --data FILE names the text to score");
  if (stride > context) {
    throw ConfigError(fmt::format(
        "stride: must be <= context ({}), tokens would be skipped; got {}", context, stride));
  }
}

Fields NoiseConfig::fields() {
  return {Field("model", &model, "noise of a cell's value").one_of({"multiplicative", "additive"}),
          Field("sigma", &sigma, "standard deviation: relative, or in level spacings (additive)")
              .at_least(0),
          Field("encoding", &encoding, "how an integer code becomes cell levels")
              .one_of({"twos_complement", "sign_magnitude", "differential", "offset_binary"}),
          Field("weight_bits", &weight_bits, "bits of a code").at_least(2).at_most(8),
          Field("cell_bits", &cell_bits, "bits of an MLC cell").at_least(1).at_most(4)};
}

void NoiseConfig::validate() const {
  if (weight_bits % cell_bits != 0) {
    throw ConfigError(fmt::format("noise.cell_bits: must divide noise.weight_bits ({}); got {}",
                                  weight_bits, cell_bits));
  }
}

CommandInfo ConvertConfig::info() const {
  return {.name = "convert",
          .purpose = "Make a checkpoint folder, or a GGUF file, from a model in another form.",
          .example = "lowbank convert stories260K.bin ckpt --tokenizer tok512.model",
          .positionals = {"src", "out"},
          .output_file = "model.gguf"};
}
Fields ConvertConfig::stage_fields() {
  return {
      Field("src", &src,
            "Hugging Face or state-spaces folder, .gguf file, llama2.c .bin file, Lowbank "
            "checkpoint")
          .input()
          .required(),
      Field("to", &to, "form of the output; empty: gguf for a name that ends so, else lowbank")
          .one_of({"", "lowbank", "gguf"}),
      Field("dtype", &dtype, "type of the weights; keep: as stored, f32 for quantised ones")
          .one_of({"keep", "f32", "bf16", "f16", "q8_0", "q4_0"}),
      Field("tokenizer", &tokenizer,
            "tokenizer file or folder, for a source that brings none (.bin, state-spaces)")
          .input(),
      Field("max_shard_bytes", &max_shard_bytes, "weights beyond this size go into several files")
          .at_least(1)
          .unit("bytes")};
}
bool ConvertConfig::to_gguf() const {
  return to.empty() ? std::filesystem::path(common.out).extension() == ".gguf" : to == "gguf";
}
void ConvertConfig::validate() const {
  if (to == "lowbank" && std::filesystem::path(common.out).extension() == ".gguf") {
    throw ConfigError("to: lowbank writes a folder; " + common.out + " is the name of a GGUF file");
  }
  if (!to_gguf() && (dtype == "q8_0" || dtype == "q4_0")) {
    throw ConfigError("dtype: " + dtype +
                      " is for GGUF files; a checkpoint folder takes keep, "
                      "f32, bf16, f16 (or add --to gguf)");
  }
}

CommandInfo InspectConfig::info() const {
  return {.name = "inspect",
          .purpose = "Show what a checkpoint holds.",
          .example = "lowbank inspect runs/demo/compress --linears",
          .positionals = {"checkpoint"},
          .has_run_dir = false};
}
Fields InspectConfig::stage_fields() {
  return {
      Field("checkpoint", &checkpoint,
            "checkpoint folder, run folder, or a .safetensors, .gguf or .bin file")
          .input()
          .required(),
      Field("linears", &linears, "one line for each linear layer"),
      Field("history", &history, "the stages that made it"),
      Field("tensors", &tensors, "write all tensors to this .safetensors file, as f32").output()};
}

CommandInfo TokenizeConfig::info() const {
  return {.name = "tokenize",
          .purpose = "Turn texts into token ids and back.",
          .example = "lowbank tokenize runs/demo/convert --file texts.jsonl --out ids.jsonl",
          .positionals = {"tokenizer"},
          .takes_recipe = false,
          .has_run_dir = false};
}
Fields TokenizeConfig::stage_fields() {
  return {
      Field("tokenizer", &tokenizer, "checkpoint folder or tokenizer file").input().required(),
      Field("file", &file, "JSON lines with a key `text`; - = standard input").input().required(),
      Field("out", &out, "JSON lines with `ids` and `text`; empty = standard output").output(),
      Field("special", &special, "add the start and end tokens the tokenizer asks for")};
}

CommandInfo LogitsConfig::info() const {
  return {.name = "logits",
          .purpose = "Run the model once over given token ids and save its output.",
          .example = "lowbank logits runs/demo/convert --ids ids.safetensors --out out.safetensors",
          .positionals = {"checkpoint"},
          .has_run_dir = false};
}
Fields LogitsConfig::stage_fields() {
  return {
      checkpoint_field(&checkpoint),
      Field("ids", &ids,
            "safetensors file with `input_ids` [B, T] int64; optional `attention_mask`, "
            "`token_type_ids`")
          .input()
          .required(),
      Field("out", &out,
            "safetensors file for `logits` [B, T, V] or [B, C], or `last_hidden_state` [B, T, D]")
          .output()
          .required()};
}

CommandInfo GenerateConfig::info() const {
  return {.name = "generate",
          .purpose = "Continue a prompt.",
          .example = "lowbank generate runs/demo/convert --prompt \"Once upon\" --greedy",
          .positionals = {"checkpoint"}};
}
Fields GenerateConfig::stage_fields() {
  return {checkpoint_field(&checkpoint),
          Field("prompt", &prompt, "text to continue"),
          Field("ids", &ids, "JSON file with one array of token ids, in place of a prompt").input(),
          Field("max_new_tokens", &max_new_tokens, "tokens to add").at_least(0).unit("tokens"),
          Field("temperature", &temperature, "of the softmax that is sampled").above(0),
          Field("top_p", &top_p, "sample from the most likely tokens of this total probability")
              .above(0)
              .at_most(1),
          Field("top_k", &top_k, "sample from this many most likely tokens; 0 = all").at_least(0),
          Field("greedy", &greedy, "always the most likely token")};
}
void GenerateConfig::validate() const {
  if (!ids.empty() && !prompt.empty()) {
    throw ConfigError("prompt and ids: give one of them, not both");
  }
}

CommandInfo EvaluateConfig::info() const {
  return {.name = "evaluate",
          .purpose = "Measure how well a model predicts.",
          .example = "lowbank evaluate runs/demo/convert --task perplexity --data text.txt",
          .positionals = {"checkpoint"}};
}
Fields EvaluateConfig::stage_fields() {
  Fields out = {
      checkpoint_field(&checkpoint),
      Field("task", &task, "what to measure").one_of({"perplexity", "sts-b"}),
      Field("pooling", &pooling, "sts-b: how a sentence becomes one vector").one_of({"mean"}),
      Field("limit", &limit, "sts-b: use this many pairs, from the first; 0 = all").at_least(0)};
  append(out, perplexity.fields());
  return out;
}
void EvaluateConfig::validate() const {
  if (task == "perplexity") {
    if (limit != 0) throw ConfigError("limit: is for task sts-b; perplexity has max_chunks");
    return perplexity.validate();
  }
  if (perplexity.data.empty()) {
    throw ConfigError("data is missing: --data DIR names the folder with STS-B's dev.tsv");
  }
  // Anything else than the default would have no effect.
  PerplexityConfig own = perplexity, defaults;
  defaults.data = own.data;
  const auto given = to_json(own.fields()), unused = to_json(defaults.fields());
  for (const auto& [key, value] : given.items()) {
    if (value != unused[key]) throw ConfigError(key + ": is for task perplexity, not for " + task);
  }
}

CommandInfo FinetuneConfig::info() const {
  return {.name = "finetune",
          .purpose = "Train a model on text or on labelled sentences.",
          .example =
              "lowbank finetune configs/recipes/finetune_shakespeare.json "
              "--set train.learning_rate=2e-4",
          .positionals = {"checkpoint"}};
}
Fields FinetuneConfig::stage_fields() {
  return {checkpoint_field(&checkpoint),
          Field("objective", &objective, "what is learned; empty: what the model's head is for")
              .one_of({"", "next_token", "masked_lm", "classification"}),
          Field("data", data.fields(), "training text; tables (TSV) for classification"),
          Field("table", table.fields(), "classification: where a table keeps what"),
          Field("train", train.fields(), "optimizer and schedule"),
          resume_field(&resume)};
}
void FinetuneConfig::validate() const {
  if (data.train.empty()) throw ConfigError("data.train is missing: the text to learn from");
  table.validate();
  train.validate();
}

CommandInfo CompressConfig::info() const {
  return {.name = "compress",
          .purpose = "Replace linear layers by low-rank factors.",
          .example = "lowbank compress runs/demo/finetune small --rank ratio:0.5",
          .positionals = {"checkpoint", "out"}};
}
Fields CompressConfig::stage_fields() {
  return {
      checkpoint_field(&checkpoint),
      Field("method", &method, "how the factors are found").one_of({"svd"}),
      Field("rank", &rank,
            "break_even, ratio:X (of break-even), fraction:X (of full), energy:X, fixed:K"),
      Field("modules", &modules,
            "regular expressions, searched anywhere in the module path; empty: every linear "
            "inside the blocks"),
      Field("to", &to, "factors, or dense: multiply the factors out").one_of({"factors", "dense"})};
}

CommandInfo RedistributeConfig::info() const {
  return {.name = "redistribute",
          .purpose = "Fine-tune a factored model and find out which ranks matter.",
          .example = "lowbank redistribute small hardened --set data.train=text.txt",
          .positionals = {"checkpoint", "out"}};
}
Fields RedistributeConfig::stage_fields() {
  return {checkpoint_field(&checkpoint),
          Field("data", data.fields(), "training text"),
          Field("train", train.fields(), "optimizer and schedule"),
          Field("importance", &importance, "measure whose concentration is shown")
              .one_of({"abs_grad", "fisher", "signed", "magnitude", "rank_order"}),
          Field("importance_max_examples", &importance_max_examples,
                "examples for the importance; 0 = a whole pass over data.train")
              .at_least(0),
          resume_field(&resume)};
}
void RedistributeConfig::validate() const {
  if (data.train.empty()) throw ConfigError("data.train is missing: the text to learn from");
  train.validate();
}

CommandInfo NoisyInferConfig::info() const {
  return {.name = "noisy-infer",
          .purpose = "Evaluate a factored model whose weights sit in noisy memory cells.",
          .example = "lowbank noisy-infer hardened --data text.txt --slc-frac 0,0.1,1 --trials 8",
          .positionals = {"checkpoint"}};
}
Fields NoisyInferConfig::stage_fields() {
  Fields out = {checkpoint_field(&checkpoint),
                Field("noise", noise.fields(), "cells and noise"),
                Field("slc_frac", &slc_frac, "parts of the ranks kept in error-free SLC cells")
                    .at_least(0)
                    .at_most(1),
                Field("importance", &importance, "which ranks are protected; one curve each")
                    .one_of({"abs_grad", "fisher", "signed", "magnitude", "rank_order", "random"}),
                Field("trials", &trials, "noise draws per point").at_least(1),
                Field("task", &task, "what to measure").one_of({"perplexity"}),
                resume_field(&resume)};
  append(out, perplexity.fields());
  return out;
}
void NoisyInferConfig::validate() const {
  noise.validate();
  perplexity.validate();
  if (slc_frac.empty()) throw ConfigError("slc_frac: give at least one value in [0, 1]");
  if (importance.empty()) throw ConfigError("importance: give at least one name");
}

CommandInfo WorkloadConfig::info() const {
  return {.name = "workload",
          .purpose = "List the operators a model runs, for the estimator.",
          .example = "lowbank workload runs/demo/compress --context 512 --out workload.json",
          .positionals = {"checkpoint"},
          .output_file = "workload.json"};
}
Fields WorkloadConfig::stage_fields() {
  return {checkpoint_field(&checkpoint),
          Field("context", &context, "tokens of the prompt, and context of a decode step")
              .at_least(1)
              .unit("tokens"),
          Field("batch", &batch, "sequences at a time").at_least(1),
          Field("phase", &phase, "operators of").one_of({"prefill", "decode", "both"})};
}

CommandInfo EstimateConfig::info() const {
  return {.name = "estimate",
          .purpose = "Price workloads on modelled hardware: time and energy.",
          .example = "lowbank estimate --workload workload.json --system gpu-a100 rram-hyflexpim",
          .output_file = "estimate.json",
          .is_modelled = true};
}
Fields EstimateConfig::stage_fields() {
  const std::vector<std::string> cache_formats = {"none", "fp16", "bf16", "int8",
                                                  "e4m3", "e5m2", "mx8"};
  return {
      Field("workload", &workload, "workload files, each to be priced on every system")
          .input()
          .many(),
      Field("system", &system, "systems of configs/pim, or files of that form").many(),
      Field("experiments", &experiments, "instead: experiments of the reference, JSONL").input(),
      Field("pim_calls", &pim_calls, "instead: calls of a memory with processing units, CSV")
          .input(),
      Field("operators", &operators, "instead: single GPU operators, CSV").input(),
      Field("fit", &fit, "instead: measured GPU operators to fit a preset's times to, CSV").input(),
      Field("trace", &trace, "file for every command of pim_calls (small sizes)")
          .output()
          .no_effect(),
      Field("mode", &mode, "timing rules: corrected, or the published simulators' own")
          .one_of({"physical", "reference"}),
      Field("correct", &correct, "corrections to add to reference mode, by name").many(),
      Field("slc_frac", &slc_frac, "part of the weights in SLC cells, on RRAM systems")
          .at_least(0)
          .at_most(1),
      Field("batch", &batch,
            "sequences at a time, in place of the workload's own; several: a sweep")
          .many()
          .at_least(1),
      Field("context", &context, "tokens of the prompt and in the cache, likewise")
          .many()
          .at_least(1)
          .unit("tokens"),
      Field("output_tokens", &output_tokens,
            "also the cost of a prompt and this many generated tokens; 0 = no")
          .at_least(0)
          .at_most(1 << 30)
          .unit("tokens"),
      Field("num_gpus", &num_gpus, "GPUs that share every layer (tensor parallel)")
          .at_least(1)
          .at_most(1024),
      Field("num_chips", &num_chips, "RRAM chips; 0 = as many as the weights need")
          .at_least(0)
          .at_most(1'000'000),
      Field("kv_format", &kv_format, "of keys and values; none = each system's own")
          .one_of(cache_formats),
      Field("state_format", &state_format, "of states, likewise").one_of(cache_formats),
      Field("crossovers", &crossovers,
            "also the batches and contexts at which one system overtakes another"),
      Field("break_even", &break_even,
            "also, for each operator: ranks, batches, contexts at which a system takes less"),
      Field("sensitivity", &sensitivity,
            "also the effect of every constant times 1 - and 1 + this; 0 = no, 0.2 is usual")
          .at_least(0)
          .below(1)};
}

bool EstimateConfig::makes_table() const { return workload.empty() && fit.empty(); }
void EstimateConfig::validate() const {
  const int num_jobs = static_cast<int>(!workload.empty()) +
                       static_cast<int>(!experiments.empty()) +
                       static_cast<int>(!pim_calls.empty()) + static_cast<int>(!operators.empty()) +
                       static_cast<int>(!fit.empty());
  if (num_jobs != 1) {
    throw ConfigError(
        "estimate: give one of workload (with system), experiments, pim_calls, operators and fit");
  }
  if (!workload.empty() && system.empty()) throw ConfigError("system: workload needs at least one");
  if (workload.empty() && !system.empty() && (fit.empty() || system.size() > 1)) {
    throw ConfigError("system: belongs to workload, or is the one preset that fit starts from");
  }
  if (workload.empty() && (!batch.empty() || !context.empty() || output_tokens > 0 ||
                           num_gpus > 1 || num_chips > 0 || kv_format != "none" ||
                           state_format != "none" || crossovers || break_even || sensitivity > 0)) {
    throw ConfigError(
        "estimate: batch, context, output_tokens, num_gpus, num_chips, kv_format, state_format, "
        "crossovers, break_even and sensitivity belong to workload");
  }
  for (const auto& [key, values] : {std::pair{"batch", &batch}, std::pair{"context", &context}}) {
    for (const double value : *values) {
      if (value != std::floor(value) || value > 1e12) {
        throw ConfigError(
            fmt::format("{}: must be whole numbers in [1, 1e12]; got {}", key, value));
      }
    }
  }
  if (crossovers && system.size() < 2) throw ConfigError("crossovers: needs at least two systems");
  if (!trace.empty() && pim_calls.empty()) {
    throw ConfigError("trace: belongs to pim_calls, and cannot be given without it");
  }
  if (!correct.empty() && mode != "reference") {
    throw ConfigError("correct: adds to mode=reference; mode=physical has every correction");
  }
}
std::string EstimateConfig::run_folder() const {
  if (!makes_table() || common.out.empty()) return StageConfig::run_folder();
  return common.out.ends_with('/') ? common.out.substr(0, common.out.size() - 1) : "";
}

CommandInfo ReportConfig::info() const {
  return {.name = "report",
          .purpose = "Put runs together: tables, figures, one self-contained HTML page.",
          .example = "lowbank report runs/demo/evaluate runs/demo/noisy --out report.html",
          .positionals = {"runs"},
          .output_file = "report.html"};
}
Fields ReportConfig::stage_fields() {
  return {Field("runs", &runs, "run folders").input().many().required(),
          Field("title", &title, "headline of the page; empty: the recipe's name")};
}
std::string ReportConfig::page() const {
  const std::string path =
      common.out.empty() ? fmt::format("runs/{}/report.html", recipe_name) : common.out;
  return path.ends_with(".html") ? path : path + ".html";
}
std::string ReportConfig::run_folder() const {
  const std::string path = page();
  return path.substr(0, path.size() - std::string(".html").size());
}

CommandInfo BenchConfig::info() const {
  return {.name = "bench",
          .purpose = "Time the hot paths on this machine, beside the machine's own limits.",
          .example = "lowbank bench --case roof_gemm roof_read --runs 5",
          .has_run_dir = false};
}
Fields BenchConfig::stage_fields() {
  return {Field("case", &cases, "what to time (docs/bench.md); empty: the quick ones").many(),
          Field("model", &model, "checkpoint for the cases that need one").input(),
          Field("calibrate", &calibrate,
                "instead: measure single kernels, write this CPU preset (.json) and compare it")
              .output(),
          Field("runs", &runs, "timed repetitions").at_least(1)};
}

namespace {

using Maker = std::function<std::unique_ptr<StageConfig>()>;

template <class Config>
Maker maker() {
  return [] { return std::make_unique<Config>(); };
}

const std::vector<std::pair<std::string, Maker>>& makers() {
  static const std::vector<std::pair<std::string, Maker>> all = {
      {"convert", maker<ConvertConfig>()},
      {"inspect", maker<InspectConfig>()},
      {"tokenize", maker<TokenizeConfig>()},
      {"logits", maker<LogitsConfig>()},
      {"generate", maker<GenerateConfig>()},
      {"evaluate", maker<EvaluateConfig>()},
      {"finetune", maker<FinetuneConfig>()},
      {"compress", maker<CompressConfig>()},
      {"redistribute", maker<RedistributeConfig>()},
      {"noisy-infer", maker<NoisyInferConfig>()},
      {"workload", maker<WorkloadConfig>()},
      {"estimate", maker<EstimateConfig>()},
      {"report", maker<ReportConfig>()},
      {"bench", maker<BenchConfig>()}};
  return all;
}

}  // namespace

std::unique_ptr<StageConfig> make_stage_config(const std::string& stage) {
  for (const auto& [name, make] : makers()) {
    if (name == stage) return make();
  }
  return nullptr;
}

std::vector<std::string> stage_names() {
  std::vector<std::string> names;
  for (const auto& [name, make] : makers()) names.push_back(name);
  return names;
}

}  // namespace lowbank
