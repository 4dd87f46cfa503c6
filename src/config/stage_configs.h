#pragma once

#include "config/stage_config.h"

namespace lowbank {

/// Text for language modelling and how it is cut.
struct TextDataConfig {
  std::string train;           ///< UTF-8 text to learn from
  std::string valid;           ///< held-out text
  std::int64_t context = 128;  ///< tokens per example; >= 2
  Fields fields();
};

/// Columns of a table of sentences, by the names in its first line, and its classes.
struct TableConfig {
  std::string sentence = "sentence";  ///< column of the sentence
  std::string second_sentence;        ///< column of the second one of a pair; "" = no pairs
  std::string label = "label";        ///< column of the class or number
  std::vector<std::string> classes;   ///< what the label column may say; empty = numbers
  Fields fields();
  void validate() const;
};

/// Optimizer, schedule and bookkeeping of one training run.
struct TrainConfig {
  std::int64_t steps = 100;             ///< optimizer steps; >= 0
  std::int64_t micro_batch_size = 8;    ///< examples per forward pass
  std::int64_t grad_accum_steps = 1;    ///< forward passes per step
  double learning_rate = 1e-3;          ///< peak
  double min_learning_rate_frac = 0.1;  ///< of the peak, at the last step; in [0, 1]
  std::string schedule = "cosine";      ///< after the warm-up: cosine | linear | constant
  std::int64_t warmup_steps = 10;
  double weight_decay = 0.1;  ///< on matrices only
  double beta1 = 0.9;
  double beta2 = 0.95;
  double eps = 1e-8;
  double max_grad_norm = 1.0;         ///< 0 = no clipping
  std::int64_t eval_every = 50;       ///< steps between validations; 0 = only at the end
  std::int64_t eval_max_chunks = 64;  ///< of the held-out text, per validation; 0 = all
  std::int64_t save_every = 100;      ///< steps between resume points; 0 = only when interrupted
  Fields fields();
  void validate() const;
};

/// How perplexity is measured (spec of `evaluate`): non-overlapping chunks unless stride < context.
struct PerplexityConfig {
  std::string data;             ///< UTF-8 text
  std::int64_t context = 512;   ///< tokens per chunk; >= 2
  std::int64_t stride = 0;      ///< 0 = context
  std::int64_t max_chars = 0;   ///< code points of the text to use; 0 = all
  std::int64_t max_chunks = 0;  ///< 0 = all
  std::int64_t batch_size = 8;  ///< chunks per forward pass; no effect on the figures
  bool keep_last = false;       ///< score an incomplete last chunk as well
  bool special = false;         ///< add the tokenizer's special tokens
  Fields fields();
  void validate() const;
};

/// Cells that hold int8 factors, and their noise (docs/noise.md).
struct NoiseConfig {
  std::string model = "multiplicative";      ///< multiplicative | additive
  double sigma = 0.025;                      ///< of one cell: relative, or in level spacings
  std::string encoding = "twos_complement";  ///< how a code becomes cell levels
  std::int64_t weight_bits = 8;              ///< bits of a code; in [2, 8]
  std::int64_t cell_bits = 2;                ///< bits of an MLC cell; in [1, 4]
  Fields fields();
  void validate() const;
};

struct ConvertConfig : StageConfig {
  std::string src;
  std::string tokenizer;
  std::string to;              ///< lowbank | gguf; "" = by the name of the output
  std::string dtype = "keep";  ///< keep | f32 | bf16 | f16 | q8_0 | q4_0
  std::int64_t max_shard_bytes = 5'000'000'000;
  /// `to`, or what `out` says: a file name that ends in .gguf, or a folder.
  bool to_gguf() const;
  CommandInfo info() const override;
  Fields stage_fields() override;
  void validate() const override;
};

struct InspectConfig : StageConfig {
  std::string checkpoint;
  bool linears = false;
  bool history = false;
  std::string tensors;  ///< .safetensors file to write; "" = none
  CommandInfo info() const override;
  Fields stage_fields() override;
};

struct TokenizeConfig : StageConfig {
  std::string tokenizer;
  std::string file;
  std::string out;
  bool special = false;
  CommandInfo info() const override;
  Fields stage_fields() override;
};

struct LogitsConfig : StageConfig {
  std::string checkpoint;
  std::string ids;
  std::string out;
  CommandInfo info() const override;
  Fields stage_fields() override;
};

struct GenerateConfig : StageConfig {
  std::string checkpoint;
  std::string prompt;
  std::string ids;
  std::int64_t max_new_tokens = 128;
  double temperature = 1.0;
  double top_p = 1.0;
  std::int64_t top_k = 0;
  bool greedy = false;
  CommandInfo info() const override;
  Fields stage_fields() override;
  void validate() const override;
  /// Only where asked for with `out`: a continuation typed by hand leaves no files.
  std::string run_folder() const override { return common.out; }
};

struct EvaluateConfig : StageConfig {
  std::string checkpoint;
  std::string task = "perplexity";  ///< perplexity | sts-b
  std::string pooling = "mean";     ///< sts-b: how a sentence's hidden states become one vector
  std::int64_t limit = 0;           ///< sts-b: examples to use, from the first; 0 = all
  std::int64_t sentence_batch_size = 32;  ///< sts-b: no effect on the figures
  PerplexityConfig perplexity;            ///< sts-b uses its `data`
  CommandInfo info() const override;
  Fields stage_fields() override;
  void validate() const override;
};

struct FinetuneConfig : StageConfig {
  std::string checkpoint;
  std::string objective;  ///< next_token | masked_lm | classification; "" = by the model's head
  TextDataConfig data;    ///< classification: tables instead of texts
  TableConfig table;
  TrainConfig train;
  bool resume = false;
  CommandInfo info() const override;
  Fields stage_fields() override;
  void validate() const override;
};

struct CompressConfig : StageConfig {
  std::string checkpoint;
  std::string method = "svd";
  std::string rank = "break_even";
  std::vector<std::string> modules;
  std::string to = "factors";
  CommandInfo info() const override;
  Fields stage_fields() override;
};

struct RedistributeConfig : StageConfig {
  std::string checkpoint;
  TextDataConfig data;
  TrainConfig train;
  std::string importance = "abs_grad";
  std::int64_t importance_max_examples = 0;
  bool resume = false;
  CommandInfo info() const override;
  Fields stage_fields() override;
  void validate() const override;
};

struct NoisyInferConfig : StageConfig {
  std::string checkpoint;
  NoiseConfig noise;
  std::vector<double> slc_frac = {0, 0.05, 0.1, 0.2, 0.3, 0.5, 1};
  std::vector<std::string> importance = {"abs_grad", "rank_order", "random"};
  std::int64_t trials = 8;
  std::string task = "perplexity";
  PerplexityConfig perplexity;
  bool resume = false;
  CommandInfo info() const override;
  Fields stage_fields() override;
  void validate() const override;
};

struct WorkloadConfig : StageConfig {
  std::string checkpoint;
  std::int64_t context = 512;
  std::int64_t batch = 1;
  std::string phase = "both";
  CommandInfo info() const override;
  Fields stage_fields() override;
};

/// One of: workloads on systems, or a file of experiments, calls or operators.
struct EstimateConfig : StageConfig {
  std::vector<std::string> workload;
  std::vector<std::string> system;
  std::string experiments;  ///< JSONL
  std::string pim_calls;    ///< CSV
  std::string operators;    ///< CSV
  std::string fit;          ///< CSV of measured operators
  std::string trace;        ///< of the calls: every command, as text
  std::string mode = "physical";
  std::vector<std::string> correct;  ///< corrections added to reference mode
  double slc_frac = 0.2;        ///< part of the weights in SLC cells of an RRAM system; in [0, 1]
  std::vector<double> batch;    ///< sequences; empty = each workload's own
  std::vector<double> context;  ///< tokens; empty = each workload's own
  std::int64_t output_tokens = 0;     ///< generated after the prompt; 0 = only single phases
  std::int64_t num_gpus = 1;          ///< tensor parallel
  std::int64_t num_chips = 0;         ///< of RRAM systems; 0 = as many as the weights need
  std::string kv_format = "none";     ///< of keys and values; none = the system's own
  std::string state_format = "none";  ///< of states
  bool crossovers = false;
  bool break_even = false;
  double sensitivity = 0;  ///< part by which constants are changed; 0 = not asked for
  CommandInfo info() const override;
  Fields stage_fields() override;
  void validate() const override;
  /// Tables are a file of their own: `out` is that file, unless it ends in '/'.
  std::string run_folder() const override;
  bool makes_table() const;
};

struct ReportConfig : StageConfig {
  std::vector<std::string> runs;
  std::string title;
  CommandInfo info() const override;
  Fields stage_fields() override;
  /// The folder of tables and figures beside the page: `report.html` -> `report`.
  std::string run_folder() const override;
  /// The HTML page itself.
  std::string page() const;
};

struct BenchConfig : StageConfig {
  std::vector<std::string> cases;
  std::string model;
  std::string calibrate;
  std::int64_t runs = 5;
  CommandInfo info() const override;
  Fields stage_fields() override;
};

/// Config of a stage by its name, or nullptr. The one list of stages.
std::unique_ptr<StageConfig> make_stage_config(const std::string& stage);
std::vector<std::string> stage_names();

}  // namespace lowbank
