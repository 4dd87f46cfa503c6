#include "io/pickle.h"

#include <algorithm>
#include <array>
#include <bit>
#include <charconv>
#include <cstring>
#include <map>

#include <fmt/format.h>

#include "core/error.h"

namespace lowbank {
namespace {

using PickleKind = Pickle::Kind;
using Ref = Pickle::Ref;

// A pickle holds names and shapes, no values: a model of 10,000 tensors takes some 500,000 objects
// and 5 MB. One byte can create an object of a hundred times its size, or a place in the memo of
// sixty times its size.
constexpr std::size_t kMaxPickleBytes = std::size_t{64} << 20;
constexpr std::size_t kMaxObjects = std::size_t{1} << 21;

// The globals of state dicts, and harmless containers. None of them is ever called.
constexpr std::array<std::string_view, 19> kAllowedGlobals = {
    "collections.OrderedDict",
    "collections.defaultdict",
    "collections.Counter",
    "argparse.Namespace",
    "_codecs.encode",
    "numpy.dtype",
    "numpy.ndarray",
    "torch._utils._rebuild_tensor",
    "torch._utils._rebuild_tensor_v2",
    "torch._utils._rebuild_tensor_v3",
    "torch._utils._rebuild_parameter",
    "torch._utils._rebuild_parameter_with_state",
    "torch._tensor._rebuild_from_type_v2",
    "torch.Tensor",
    "torch.nn.parameter.Parameter",
    "torch.Size",
    "torch.device",
    "torch.storage.UntypedStorage",
    "torch.storage.TypedStorage"};
// The modules have other names in Python 3 and 2, and in numpy 2 and 1.
constexpr std::array<std::string_view, 2> kBuiltinModules = {"builtins.", "__builtin__."};
constexpr std::array<std::string_view, 8> kAllowedBuiltins = {
    "set", "frozenset", "dict", "list", "bytearray", "complex", "range", "xrange"};
constexpr std::array<std::string_view, 2> kNumpyModules = {"numpy._core.", "numpy.core."};
constexpr std::array<std::string_view, 3> kAllowedNumpy = {
    "multiarray.scalar", "multiarray._reconstruct", "numeric._frombuffer"};

template <std::size_t N>
bool is_one_of(std::string_view name, const std::array<std::string_view, N>& names) {
  return std::find(names.begin(), names.end(), name) != names.end();
}

bool is_allowed_global(std::string_view name) {
  if (is_one_of(name, kAllowedGlobals)) return true;
  for (const auto module : kBuiltinModules) {
    if (name.starts_with(module)) return is_one_of(name.substr(module.size()), kAllowedBuiltins);
  }
  for (const auto module : kNumpyModules) {
    if (name.starts_with(module)) return is_one_of(name.substr(module.size()), kAllowedNumpy);
  }
  // torch.FloatStorage, torch.cuda.HalfStorage; torch.float8_e4m3fn and the other dtypes.
  if (!name.starts_with("torch.")) return false;
  const std::string_view rest = name.substr(6);
  const std::string_view last = rest.substr(rest.rfind('.') + 1);
  if (last.ends_with("Storage")) return last == rest || rest == fmt::format("cuda.{}", last);
  for (const auto* dtype :
       {"float", "bfloat", "int", "uint", "bool", "complex", "half", "double"}) {
    if (rest.starts_with(dtype) && rest.find('.') == std::string_view::npos) return true;
  }
  return false;
}

}  // namespace

std::string_view pickle_kind_name(PickleKind kind) {
  constexpr std::array<std::string_view, 14> kNames = {"mark",
                                                       "None",
                                                       "bool",
                                                       "int",
                                                       "int",
                                                       "float",
                                                       "text",
                                                       "bytes",
                                                       "list",
                                                       "tuple",
                                                       "dict",
                                                       "class",
                                                       "object of a class",
                                                       "stored object"};
  return kNames[static_cast<std::size_t>(kind)];
}

std::string printable_text(std::string_view text) {
  std::string shown(text.substr(0, 80));
  std::replace_if(
      shown.begin(), shown.end(), [](char c) { return c < ' ' || c > '~'; }, '?');
  return shown;
}

/// A pickle is a program for a stack machine; this is that machine.
class PickleReader {
 public:
  PickleReader(Pickle& pickle, std::span<const std::byte> bytes, const std::string& source)
      : pickle_(pickle), bytes_(bytes), source_(source) {}

  void run() {
    while (step()) {
      if (position_ > kMaxPickleBytes) refuse("is larger than any state dict's");
    }
    pickle_.size_bytes_ = position_;
  }

 private:
  [[noreturn]] void refuse(const std::string& what) const {
    throw IoError(fmt::format("{}: pickle, byte {}: {}", source_, at_, what));
  }

  // --- the bytes
  std::string_view take(std::uint64_t size) {
    if (size > bytes_.size() - position_) {
      refuse(fmt::format("is cut off: {} bytes are wanted, {} are left", size,
                         bytes_.size() - position_));
    }
    const auto* const data = reinterpret_cast<const char*>(bytes_.data()) + position_;
    position_ += static_cast<std::size_t>(size);
    return {data, static_cast<std::size_t>(size)};
  }
  template <class T>
  T number() {
    T value;
    std::memcpy(&value, take(sizeof(T)).data(), sizeof(T));
    return value;
  }
  std::string_view line() {
    const std::string_view rest(reinterpret_cast<const char*>(bytes_.data()) + position_,
                                bytes_.size() - position_);
    const auto end = rest.find('\n');
    if (end == std::string_view::npos) refuse("is cut off in a line");
    position_ += end + 1;
    return rest.substr(0, end);
  }
  std::int64_t whole_line() {
    std::string_view text = line();
    if (text.ends_with('L')) text.remove_suffix(1);
    std::int64_t value = 0;
    const auto [end, error] = std::from_chars(text.data(), text.data() + text.size(), value);
    if (error != std::errc() || end != text.data() + text.size()) {
      refuse("a line holds no whole number");
    }
    return value;
  }

  // --- the stack
  Ref add(Pickle::Object object) {
    if (pickle_.objects_.size() == kMaxObjects) {
      refuse(fmt::format("makes more than {} objects; no state dict does", kMaxObjects));
    }
    pickle_.objects_.push_back(std::move(object));
    return static_cast<Ref>(pickle_.objects_.size() - 1);
  }
  void push(Pickle::Object object) { stack_.push_back(add(std::move(object))); }
  void push_whole(std::int64_t value) { push({.kind = PickleKind::kInt, .whole = value}); }
  void push_text(PickleKind kind, std::string_view text) { push({.kind = kind, .text = text}); }
  Pickle::Object& object(Ref ref) { return pickle_.objects_[ref]; }
  Ref top() const {
    if (stack_.empty()) refuse("takes from an empty stack");
    return stack_.back();
  }
  Ref pop() {
    const Ref ref = top();
    if (object(ref).kind == PickleKind::kMark) refuse("takes a mark for an object");
    stack_.pop_back();
    return ref;
  }
  /// Removes the last mark and the objects above it, and returns those objects.
  std::vector<Ref> pop_to_mark() {
    auto mark = stack_.size();
    while (mark > 0 && object(stack_[mark - 1]).kind != PickleKind::kMark) --mark;
    if (mark == 0) refuse("has no mark on its stack");
    std::vector<Ref> items(stack_.begin() + static_cast<std::ptrdiff_t>(mark), stack_.end());
    stack_.resize(mark - 1);
    return items;
  }
  Ref receiver(std::initializer_list<PickleKind> kinds) {
    const Ref ref = top();
    if (std::find(kinds.begin(), kinds.end(), object(ref).kind) == kinds.end()) {
      refuse(fmt::format("puts items into a {}", pickle_kind_name(object(ref).kind)));
    }
    return ref;
  }
  void append_items(Ref to, const std::vector<Ref>& items) {
    auto& target = object(to).items;
    target.insert(target.end(), items.begin(), items.end());
  }
  void set_items(const std::vector<Ref>& items) {
    if (items.size() % 2 != 0) refuse("has a key without a value");
    // OrderedDict() is a call; its items come as those of a dict.
    append_items(receiver({PickleKind::kDict, PickleKind::kCall}), items);
  }
  void push_tuple(std::size_t size) {
    std::vector<Ref> items(size);
    for (std::size_t i = size; i-- > 0;) items[i] = pop();
    push({.kind = PickleKind::kTuple, .items = std::move(items)});
  }
  void put(std::uint64_t index) {
    memo_[index] = top();
    if (memo_.size() > kMaxObjects) {
      refuse(fmt::format("keeps more than {} objects; no state dict does", kMaxObjects));
    }
  }
  void get(std::uint64_t index) {
    const auto found = memo_.find(index);
    if (found == memo_.end()) refuse(fmt::format("asks for object {}, which it never kept", index));
    stack_.push_back(found->second);
  }
  void push_global(std::string_view module, std::string_view name) {
    const std::string full = fmt::format("{}.{}", module, name);
    if (!is_allowed_global(full)) {
      refuse("asks for " + printable_text(full) +
             ", which is not part of a state dict; nothing was run. Load the file where it was "
             "made and save its state_dict() alone");
    }
    pickle_.names_.push_back(full);
    push_text(PickleKind::kGlobal, pickle_.names_.back());
  }
  void push_call() {
    const Ref arguments = pop();
    const Ref callable = pop();
    const PickleKind kind = object(callable).kind;
    if (kind != PickleKind::kGlobal) {
      refuse(fmt::format("calls a {}", pickle_kind_name(kind)));
    }
    push({.kind = PickleKind::kCall, .items = {callable, arguments}});
  }

  void push_persistent() { push({.kind = PickleKind::kPersistent, .items = {pop()}}); }

  bool step();

  Pickle& pickle_;
  std::span<const std::byte> bytes_;
  const std::string& source_;
  std::size_t position_ = 0;
  std::size_t at_ = 0;  // position of the current opcode
  std::vector<Ref> stack_;
  std::map<std::uint64_t, Ref> memo_;
};

// Executes one opcode; returns false at STOP.
bool PickleReader::step() {
  at_ = position_;
  const auto opcode = static_cast<unsigned char>(take(1)[0]);
  switch (opcode) {
    case 0x80:  // PROTO
      if (const auto protocol = number<std::uint8_t>(); protocol > 5) {
        refuse(fmt::format("is of protocol {}; up to 5 are read", protocol));
      }
      return true;
    case 0x95:  // FRAME: only a hint for reading
      number<std::uint64_t>();
      return true;
    case '.': {  // STOP
      pickle_.root_ = pop();
      return false;
    }
    case '(':  // MARK
      push({.kind = PickleKind::kMark});
      return true;
    case '0':  // POP
      top();
      stack_.pop_back();
      return true;
    case '1':  // POP_MARK
      pop_to_mark();
      return true;
    case '2':  // DUP
      stack_.push_back(top());
      return true;
    case 'N':
      push({.kind = PickleKind::kNone});
      return true;
    case 0x88:  // NEWTRUE
    case 0x89:  // NEWFALSE
      push({.kind = PickleKind::kBool, .whole = opcode == 0x88});
      return true;
    case 'I':
    case 'L':
      push_whole(whole_line());
      return true;
    case 'J':
      push_whole(number<std::int32_t>());
      return true;
    case 'K':
      push_whole(number<std::uint8_t>());
      return true;
    case 'M':
      push_whole(number<std::uint16_t>());
      return true;
    case 0x8A:    // LONG1
    case 0x8B: {  // LONG4
      const std::uint64_t size = opcode == 0x8A ? number<std::uint8_t>() : number<std::uint32_t>();
      const auto digits = take(size);
      if (size > 8) {
        push_text(PickleKind::kBigInt, digits);
        return true;
      }
      // Two's complement, lowest byte first.
      std::uint64_t value = size > 0 && (digits.back() & 0x80) != 0 ? ~std::uint64_t{0} : 0;
      std::memcpy(&value, digits.data(), digits.size());
      push_whole(static_cast<std::int64_t>(value));
      return true;
    }
    case 'F': {
      const auto text = line();
      double value = 0;
      if (std::from_chars(text.data(), text.data() + text.size(), value).ec != std::errc()) {
        refuse("a line holds no number");
      }
      push({.kind = PickleKind::kFloat, .real = value});
      return true;
    }
    case 'G': {  // BINFLOAT: big-endian
      const auto bits = __builtin_bswap64(number<std::uint64_t>());
      push({.kind = PickleKind::kFloat, .real = std::bit_cast<double>(bits)});
      return true;
    }
    case 'S':    // STRING: quoted as Python prints it
    case 'V': {  // UNICODE: with escapes
      auto text = line();
      if (opcode == 'S') {
        const bool is_quoted = text.size() >= 2 && text.front() == text.back() &&
                               (text.front() == '\'' || text.front() == '"');
        if (!is_quoted) refuse("a text is not quoted");
        text = text.substr(1, text.size() - 2);
      }
      if (text.find('\\') != std::string_view::npos) refuse("a text has escapes");
      push_text(PickleKind::kText, text);
      return true;
    }
    case 'T':
      push_text(PickleKind::kText, take(number<std::uint32_t>()));
      return true;
    case 'U':
    case 0x8C:
      push_text(PickleKind::kText, take(number<std::uint8_t>()));
      return true;
    case 'X':
      push_text(PickleKind::kText, take(number<std::uint32_t>()));
      return true;
    case 0x8D:
      push_text(PickleKind::kText, take(number<std::uint64_t>()));
      return true;
    case 'B':
      push_text(PickleKind::kBytes, take(number<std::uint32_t>()));
      return true;
    case 'C':
      push_text(PickleKind::kBytes, take(number<std::uint8_t>()));
      return true;
    case 0x8E:
    case 0x96:
      push_text(PickleKind::kBytes, take(number<std::uint64_t>()));
      return true;
    case ']':
    case 0x8F:  // EMPTY_SET
      push({.kind = PickleKind::kList});
      return true;
    case 'a': {  // APPEND
      const Ref item = pop();
      append_items(receiver({PickleKind::kList}), {item});
      return true;
    }
    case 'e':     // APPENDS
    case 0x90: {  // ADDITEMS
      const auto items = pop_to_mark();
      append_items(receiver({PickleKind::kList}), items);
      return true;
    }
    case 'l':   // LIST
    case 0x91:  // FROZENSET
      push({.kind = PickleKind::kList, .items = pop_to_mark()});
      return true;
    case ')':
      push({.kind = PickleKind::kTuple});
      return true;
    case 't':
      push({.kind = PickleKind::kTuple, .items = pop_to_mark()});
      return true;
    case 0x85:
    case 0x86:
    case 0x87:
      push_tuple(opcode - 0x84u);
      return true;
    case '}':
      push({.kind = PickleKind::kDict});
      return true;
    case 'd': {
      auto items = pop_to_mark();
      if (items.size() % 2 != 0) refuse("has a key without a value");
      push({.kind = PickleKind::kDict, .items = std::move(items)});
      return true;
    }
    case 's': {
      const Ref value = pop();
      const Ref key = pop();
      set_items({key, value});
      return true;
    }
    case 'u':
      set_items(pop_to_mark());
      return true;
    case 'c': {  // GLOBAL
      const auto module = line();
      push_global(module, line());
      return true;
    }
    case 0x93: {  // STACK_GLOBAL
      const Ref name = pop();
      const Ref module = pop();
      if (object(name).kind != PickleKind::kText || object(module).kind != PickleKind::kText) {
        refuse("names a global that is no text");
      }
      push_global(object(module).text, object(name).text);
      return true;
    }
    case 'R':   // REDUCE
    case 0x81:  // NEWOBJ
      push_call();
      return true;
    case 'b': {  // BUILD: a state for the object below it
      const Ref state = pop();
      const Ref target = receiver({PickleKind::kCall});
      // The state is kept as a pair whose key is None, so that it is never taken for an item.
      append_items(target, {add({.kind = PickleKind::kNone}), state});
      return true;
    }
    case 'P':
      push_text(PickleKind::kText, line());
      push_persistent();
      return true;
    case 'Q':
      push_persistent();
      return true;
    case 'g':
      get(static_cast<std::uint64_t>(whole_line()));
      return true;
    case 'h':
      get(number<std::uint8_t>());
      return true;
    case 'j':
      get(number<std::uint32_t>());
      return true;
    case 'p':
      put(static_cast<std::uint64_t>(whole_line()));
      return true;
    case 'q':
      put(number<std::uint8_t>());
      return true;
    case 'r':
      put(number<std::uint32_t>());
      return true;
    case 0x94:  // MEMOIZE
      put(memo_.size());
      return true;
    default:
      refuse(fmt::format("opcode 0x{:02X} is not used by state dicts", opcode));
  }
}

Pickle::Pickle(std::span<const std::byte> bytes, const std::string& source) {
  PickleReader(*this, bytes, source).run();
}

}  // namespace lowbank
