#include "coordinator/cli/option_table.h"

#include <cstddef>
#include <iterator>

namespace tandem {
namespace {

constexpr uint32_t Bit(Verb verb) { return 1u << static_cast<int>(verb); }

constexpr uint32_t kGenerate = Bit(Verb::kGenerate);
constexpr uint32_t kScore = Bit(Verb::kScore);
constexpr uint32_t kEmbed = Bit(Verb::kEmbed);
constexpr uint32_t kForward = Bit(Verb::kForward);
constexpr uint32_t kTokenize = Bit(Verb::kTokenize);
constexpr uint32_t kInspect = Bit(Verb::kInspect);
constexpr uint32_t kInit = Bit(Verb::kInit);
constexpr uint32_t kDecode = kGenerate | kScore;
constexpr uint32_t kRequests = kGenerate | kScore | kEmbed;
constexpr uint32_t kCompute = kRequests | kForward;
constexpr uint32_t kAll = (1u << kNumVerbs) - 1;

constexpr int64_t kMaxInt32 = 2147483647;
constexpr int64_t kMaxInt64 = 9223372036854775807;
constexpr int64_t kMinInt64 = -kMaxInt64 - 1;

constexpr VerbInfo kVerbs[] = {
    {"generate", "answers requests: a file of them, or one from the command line",
     "generate --model DIR (--input FILE --output FILE | --prompt TEXT) [flags]",
     "tandem generate --model DIR --prompt \"roman: 1448\" --format text\n"
     "tandem generate --model DIR --input requests.jsonl --output results.jsonl\n"
     "mpirun -np 4 tandem generate --model DIR --input requests.jsonl --output results.jsonl \\\n"
     "    --encoder-tp 1 --decoder-tp 2 --coordinator own\n"},
    {"score", "gives the log-probabilities of given answers: a file of prompts with targets",
     "score --model DIR --input FILE --output FILE [flags]",
     "echo '{\"prompt\": \"roman: 1448\", \"target\": \"MCDXLVIII\"}' |\n"
     "    tandem score --model DIR --input - --output -\n"
     "mpirun -np 4 tandem score --model DIR --input targets.jsonl --output scores.jsonl\n"},
    {"embed", "gives the encoder's states of prompts, pooled to a vector each or whole",
     "embed --model DIR --input FILE --output FILE [flags]",
     "echo '{\"prompt\": \"roman: 1448\"}' | tandem embed --model DIR --input - --output -\n"
     "tandem embed --model DIR --input prompts.jsonl --output vectors.jsonl --normalize\n"
     "tandem embed --model DIR --input prompts.jsonl --output F.safetensors --pooling none\n"},
    {"forward", "runs the model once on tensors of a safetensors file, and writes what comes out",
     "forward --model DIR --input IN.safetensors --output OUT.safetensors [flags]",
     "tandem forward --model DIR --input in.safetensors --output out.safetensors --taps\n"},
    {"tokenize", "turns text into token ids, and back: one JSON object a line on standard input",
     "tokenize (--model DIR | --tokenizer FILE) [flags] < IN > OUT",
     "echo '{\"text\": \"one two\"}' | tandem tokenize --model DIR\n"
     "echo '{\"ids\": [2, 284, 466]}' | tandem tokenize --model DIR --decode\n"},
    {"inspect", "tells what a model folder or a config.json holds, without its weights",
     "inspect DIR [flags]",
     "tandem inspect DIR\n"
     "tandem inspect DIR/config.json --format json\n"},
    {"init", "writes a checkpoint with seeded random weights, for benchmarks",
     "init --model NAME|CONFIG --output DIR [flags]",
     "tandem init --model t5gemma2_270m_270m --output random-270m --seed 1\n"},
    {"env", "prints what a bug report needs: versions, hosts, cores, memory", "env",
     "tandem env\n"
     "mpirun -np 2 tandem env\n"},
};
static_assert(std::size(kVerbs) == kNumVerbs);

using T = OptionType;
using G = OptionGroup;

constexpr OptionInfo kOptions[] = {
    // What goes in and out.
    {"model", kCompute | kTokenize, T::kText, G::kInputOutput, "DIR", "", "", 0, 0,
     "the checkpoint's folder, as it is published; on every rank's own host"},
    {"model", kInspect, T::kText, G::kInputOutput, "DIR", "", "", 0, 0,
     "the checkpoint's folder, or a config.json; the same as DIR without a flag"},
    {"model", kInit, T::kText, G::kInputOutput, "NAME|CONFIG", "", "", 0, 0,
     "a preset (t5gemma2_270m_270m, t5gemma2_1b_1b, t5gemma2_4b_4b) or a config.json"},
    {"tokenizer", kTokenize, T::kText, G::kInputOutput, "FILE", "", "", 0, 0,
     "a tokenizer.json or tokenizer.model, in place of --model"},
    {"input", kRequests, T::kText, G::kInputOutput, "FILE|-", "", "", 0, 0,
     "requests, one JSON object a line; - is standard input"},
    {"input", kForward, T::kText, G::kInputOutput, "FILE", "", "", 0, 0,
     "a safetensors file with encoder_token_ids, encoder_padding_mask, decoder_token_ids and "
     "decoder_padding_mask"},
    {"output", kScore, T::kText, G::kInputOutput, "FILE|-", "", "", 0, 0,
     "results, one JSON object a line; - is standard output. FILE.run.json beside it tells what "
     "the "
     "job was"},
    {"output", kEmbed, T::kText, G::kInputOutput, "FILE|-", "", "", 0, 0,
     "results, one JSON object a line; - is standard output; with --pooling none a safetensors "
     "file "
     "with a tensor [tokens, hidden] for each id. FILE.run.json beside it tells what the job was"},
    {"pooling", kEmbed, T::kChoice, G::kInputOutput, "", "mean", "mean|last|none", 0, 0,
     "of the prompt's states: their mean, the last one, or all of them"},
    {"normalize", kEmbed, T::kFlag, G::kInputOutput, "", "false", "", 0, 0,
     "vectors of unit length"},
    {"output", kGenerate, T::kText, G::kInputOutput, "FILE|-", "", "", 0, 0,
     "results, one JSON object a line; - is standard output (the default with --prompt). "
     "FILE.run.json beside it tells what the job was"},
    {"output", kForward, T::kText, G::kInputOutput, "FILE", "", "", 0, 0,
     "the safetensors file to write"},
    {"output", kInit, T::kText, G::kInputOutput, "DIR", "", "", 0, 0, "the folder to write"},
    {"overwrite", kCompute | kInit, T::kFlag, G::kInputOutput, "", "false", "", 0, 0,
     "replace an output that exists"},
    {"prompt", kGenerate, T::kText, G::kInputOutput, "TEXT", "", "", 0, 0,
     "one request with this prompt, in place of --input"},
    {"prompt-token-ids", kGenerate, T::kTokenIds, G::kInputOutput, "ID,ID,...", "", "", 0, 0,
     "one request with these tokens, in place of --input"},
    {"format", kGenerate, T::kChoice, G::kInputOutput, "", "jsonl", "text|jsonl", 0, 0,
     "jsonl: result lines; text: the answers alone (of a request that fails the log tells, and its "
     "line is empty)"},
    {"format", kInspect, T::kChoice, G::kInputOutput, "", "text", "text|json", 0, 0,
     "text: for reading; json: for programs"},
    {"unordered", kRequests, T::kFlag, G::kInputOutput, "", "false", "", 0, 0,
     "results as they finish, not in the input's order"},
    {"reorder-window", kRequests, T::kInteger, G::kInputOutput, "N", "4096", "", 1, 1048576,
     "results that may wait for an earlier one; when so many do, no request is admitted"},
    {"max-line-bytes", kRequests, T::kInteger, G::kInputOutput, "N", "16777216", "", 1, 1073741824,
     "a longer line gets an error result"},
    {"ignore-unknown-fields", kRequests, T::kFlag, G::kInputOutput, "", "false", "", 0, 0,
     "pass over fields that requests do not have, in place of an error result"},
    {"truncate", kRequests, T::kFlag, G::kInputOutput, "", "false", "", 0, 0,
     "keep the first tokens of a prompt that is too long, in place of an error result"},
    {"no-special-in-prompt", kRequests, T::kFlag, G::kInputOutput, "", "false", "", 0, 0,
     "refuse special tokens inside the text of prompts"},
    {"add-bos", kRequests | kTokenize, T::kChoice, G::kInputOutput, "", "auto", "auto|always|never",
     0, 0, "the token in front of text; auto: as the tokenizer's files say"},
    {"decode", kTokenize, T::kFlag, G::kInputOutput, "", "false", "", 0, 0, "ids in, text out"},
    {"keep-special", kTokenize, T::kFlag, G::kInputOutput, "", "false", "", 0, 0,
     "with --decode: special tokens stay in the text"},
    {"taps", kForward, T::kFlag, G::kInputOutput, "", "false", "", 0, 0,
     "write every intermediate, too"},

    // Defaults of the requests' fields.
    {"max-tokens", kGenerate, T::kInteger, G::kRequest, "N", "256", "", 1, kMaxInt32,
     "the longest answer"},
    {"min-tokens", kGenerate, T::kInteger, G::kRequest, "N", "0", "", 0, kMaxInt32,
     "no stop token before that many tokens"},
    {"ignore-eos", kGenerate, T::kFlag, G::kRequest, "", "false", "", 0, 0,
     "the model's own stop tokens do not stop"},
    {"stop-token-ids", kGenerate, T::kTokenIds, G::kRequest, "ID,ID,...", "", "", 0, 0,
     "tokens that stop an answer, beside the model's own"},
    {"logprobs", kGenerate, T::kInteger, G::kRequest, "N", "off", "", 0, 1024,
     "log-probabilities, with that many alternatives a token"},
    {"decoder-prompt", kGenerate, T::kText, G::kRequest, "TEXT", "", "", 0, 0,
     "what each answer begins with"},
    {"decoder-prompt-token-ids", kGenerate, T::kTokenIds, G::kRequest, "ID,ID,...", "", "", 0, 0,
     "the same as tokens, in place of --decoder-prompt"},
    {"temperature", kGenerate, T::kNumber, G::kRequest, "X", "0", "", 0, 0,
     "above 0: answers are drawn; 0: the likeliest token at each step"},
    {"top-k", kGenerate, T::kInteger, G::kRequest, "N", "0", "", 0, kMaxInt32,
     "draw from that many of the most likely tokens; 0: from all"},
    {"top-p", kGenerate, T::kNumber, G::kRequest, "X", "1", "", 0, 0,
     "draw from the most likely tokens that together have this probability"},
    {"min-p", kGenerate, T::kNumber, G::kRequest, "X", "0", "", 0, 0,
     "draw from tokens that have this share of the likeliest one's probability"},
    {"seed", kGenerate, T::kInteger, G::kRequest, "N", "0", "", kMinInt64, kMaxInt64,
     "seed of the job: a request without a seed of its own gets one made of this and its id"},
    {"n", kGenerate, T::kInteger, G::kRequest, "N", "1", "", 1, 256, "answers to each prompt"},
    {"best-of", kGenerate, T::kInteger, G::kRequest, "N", "n", "", 1, 256,
     "answers that are drawn, of which the n most likely are given back"},
    {"num-beams", kGenerate, T::kInteger, G::kRequest, "N", "1", "", 1, 64, "above 1: beam search"},
    {"length-penalty", kGenerate, T::kNumber, G::kRequest, "X", "1", "", 0, 0,
     "a beam's score is its log-probability divided by its length to this power"},
    {"early-stopping", kGenerate, T::kChoice, G::kRequest, "", "false", "false|true|never", 0, 0,
     "when a beam search ends; true: with num-beams finished ones"},
    {"repetition-penalty", kGenerate, T::kNumber, G::kRequest, "X", "1", "", 0, 0,
     "above 1: tokens of the answer become less likely"},
    {"presence-penalty", kGenerate, T::kNumber, G::kRequest, "X", "0", "", 0, 0,
     "taken off the logits of tokens that the answer holds"},
    {"frequency-penalty", kGenerate, T::kNumber, G::kRequest, "X", "0", "", 0, 0,
     "the same, as often as it holds them"},
    {"no-repeat-ngram-size", kGenerate, T::kInteger, G::kRequest, "N", "0", "", 0, kMaxInt32,
     "no run of that many tokens comes twice; 0: off"},
    {"bad-words", kGenerate, T::kTexts, G::kRequest, "TEXT", "", "", 0, 0,
     "text that no answer holds; may be given several times, or as a JSON array of strings"},
    {"logit-bias", kGenerate, T::kTokenBiases, G::kRequest, "ID=X,ID=X,...", "", "", 0, 0,
     "added to the logits of these tokens"},
    {"stop", kGenerate, T::kTexts, G::kRequest, "TEXT", "", "", 0, 0,
     "an answer ends before this text; may be given several times, or as a JSON array of strings"},
    {"include-stop-str-in-output", kGenerate, T::kFlag, G::kRequest, "", "false", "", 0, 0,
     "the answer keeps the stop text"},
    {"skip-special-tokens", kGenerate, T::kFlag, G::kRequest, "", "true", "", 0, 0,
     "the answer's text leaves special tokens out"},

    // Which rank does what.
    {"layout", kCompute, T::kText, G::kLayout, "FILE", "", "", 0, 0,
     "which ranks form which group of which stage (YAML)"},
    {"encoder-tp", kCompute, T::kInteger, G::kLayout, "N", "auto", "", 1, 1024,
     "ranks of an encoder group: a power of two"},
    {"decoder-tp", kCompute, T::kInteger, G::kLayout, "N", "auto", "", 1, 1024,
     "ranks of a decoder group: a power of two"},
    {"vision-tp", kCompute, T::kInteger, G::kLayout, "N", "auto", "", 1, 1024,
     "ranks of a vision group; it is placed, and has no work in this version"},
    {"encoder-groups", kCompute, T::kInteger, G::kLayout, "N", "auto", "", 1, 65536,
     "encoder groups"},
    {"decoder-groups", kCompute, T::kInteger, G::kLayout, "N", "auto", "", 1, 65536,
     "decoder groups"},
    {"vision-groups", kCompute, T::kInteger, G::kLayout, "N", "auto", "", 1, 65536,
     "vision groups"},
    {"replicas", kCompute, T::kInteger, G::kLayout, "N", "auto", "", 1, 65536,
     "that many times every stage's groups"},
    {"colocate", kCompute, T::kFlag, G::kLayout, "", "false", "", 0, 0,
     "the stages share their ranks"},
    {"coordinator", kCompute, T::kChoice, G::kLayout, "", "auto", "auto|own|shared", 0, 0,
     "own: rank 0 coordinates and computes nothing; auto: shared, or what the layout file says"},
    {"print-layout", kCompute, T::kFlag, G::kLayout, "", "false", "", 0, 0,
     "write the layout file that these flags make to standard output, and end"},

    // How it computes.
    {"threads", kCompute, T::kInteger, G::kEngine, "N", "auto", "", 1, 1024,
     "compute threads a rank; auto: as many as the rank has cores"},
    {"max-num-seqs", kDecode, T::kInteger, G::kEngine, "N", "32", "", 1, 4096,
     "sequences in a decoder step"},
    {"max-batch-tokens", kRequests, T::kInteger, G::kEngine, "N", "4096", "", 1, 16777216,
     "tokens in an encoder batch"},
    {"kv-cache-mb", kDecode, T::kInteger, G::kEngine, "N", "auto", "", 1, 16777216,
     "K/V memory of a decoder rank, in MiB"},
    {"max-model-len", kRequests, T::kInteger, G::kEngine, "N", "auto", "", 1, kMaxInt32,
     "the longest prompt in tokens; auto: the model's max_position_embeddings. More is possible, "
     "with a warning"},
    {"dtype", kCompute, T::kChoice, G::kEngine, "", "auto",
     "auto|float32|bfloat16|float16|mixed_bfloat16", 0, 0,
     "what products are computed in; auto: as the checkpoint is stored, F16 in float32"},
    {"isa", kCompute, T::kChoice, G::kEngine, "", "auto", "auto|portable|avx2|avx512|avx512_bf16",
     0, 0, "instruction set; one that a host lacks is an error"},
    {"load", kCompute, T::kChoice, G::kEngine, "", "auto", "auto|map|copy|read", 0, 0,
     "how weights come into memory; read: large sequential reads, for network file systems"},
    {"load-weights", kCompute, T::kFlag, G::kEngine, "", "true", "", 0, 0,
     "false: seeded random weights, for a model folder that has none"},
    {"weights-seed", kCompute, T::kInteger, G::kEngine, "N", "0", "", 0, kMaxInt64,
     "seed of the random weights; the same as init --seed"},
    {"seed", kInit, T::kInteger, G::kEngine, "N", "0", "", 0, kMaxInt64,
     "seed of the random weights"},

    // Of every verb.
    {"config", kAll, T::kText, G::kSettings, "FILE", "", "", 0, 0,
     "a YAML file of settings (max_tokens: 64)"},
    {"print-config", kAll, T::kFlag, G::kSettings, "", "false", "", 0, 0,
     "print every setting with where it came from, and end"},
    {"dry-run", kRequests, T::kFlag, G::kSettings, "", "false", "", 0, 0,
     "check layout, memory, the model's headers and every request, read no weights, print what the "
     "job would be, and end"},
    {"log-level", kAll, T::kChoice, G::kSettings, "", "info", "error|warn|info|debug|trace", 0, 0,
     "what is logged, on standard error; with --prompt the default is warn"},
    {"log-format", kAll, T::kChoice, G::kSettings, "", "text", "text|json", 0, 0,
     "json: one object a line"},
    {"quiet", kAll, T::kFlag, G::kSettings, "", "false", "", 0, 0,
     "no progress, and errors alone in the log"},
};

char Folded(char c) { return c == '_' ? '-' : c; }

bool SameName(absl::string_view a, absl::string_view b) {
  if (a.size() != b.size()) return false;
  for (size_t i = 0; i < a.size(); ++i) {
    if (Folded(a[i]) != Folded(b[i])) return false;
  }
  return true;
}

}  // namespace

absl::Span<const VerbInfo> VerbTable() { return kVerbs; }

const Verb* FindVerb(absl::string_view name) {
  static constexpr Verb kAllVerbs[] = {Verb::kGenerate, Verb::kScore,    Verb::kEmbed,
                                       Verb::kForward,  Verb::kTokenize, Verb::kInspect,
                                       Verb::kInit,     Verb::kEnv};
  for (const Verb& verb : kAllVerbs) {
    if (name == NameOf(verb)) return &verb;
  }
  return nullptr;
}

std::vector<absl::string_view> VerbNames() {
  std::vector<absl::string_view> names;
  for (const VerbInfo& verb : kVerbs) names.push_back(verb.name);
  return names;
}

absl::string_view NameOf(OptionGroup group) {
  constexpr absl::string_view kNames[] = {"Input and output", "Defaults of the requests", "Layout",
                                          "Engine", "Settings and logs"};
  return kNames[static_cast<size_t>(group)];
}

absl::Span<const OptionInfo> OptionTable() { return kOptions; }

int FindOption(Verb verb, absl::string_view name) {
  for (size_t i = 0; i < std::size(kOptions); ++i) {
    if (kOptions[i].BelongsTo(verb) && SameName(kOptions[i].name, name)) return static_cast<int>(i);
  }
  return -1;
}

}  // namespace tandem
