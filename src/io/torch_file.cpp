#include "io/torch_file.h"

#include <algorithm>
#include <array>
#include <cstring>
#include <map>
#include <optional>
#include <set>
#include <string_view>

#include <fmt/format.h>
#include <fmt/ranges.h>

#include "core/error.h"
#include "core/text.h"
#include "io/pickle.h"
#include "io/zip_file.h"

namespace lowbank {
namespace {

using Object = Pickle::Object;

constexpr std::string_view kZipMagic = "PK\x03\x04";
// torch.serialization.MAGIC_NUMBER, 0x1950a86a20f9469cfc6c, as the pickle of protocol 2 has it.
constexpr std::string_view kLegacyMagic =
    "\x80\x02\x8a\x0a\x6c\xfc\x9c\x46\xf9\x20\x6a\xa8\x50\x19.";
constexpr std::size_t kMaxTensorDimensions = 64;
constexpr std::uint64_t kSmallTensorBytes = std::uint64_t{1} << 20;
// Each further name of one shared tensor costs eight bytes in the file and a kilobyte in memory.
constexpr std::size_t kMaxTensors = std::size_t{1} << 18;

struct TorchType {
  std::string_view storage;  // class of a typed storage; "" where torch has none
  std::string_view dtype;
  ElementType type;
};
constexpr std::array<TorchType, 16> kTorchTypes = {
    {{"FloatStorage", "float32", ElementType::kF32},
     {"DoubleStorage", "float64", ElementType::kF64},
     {"HalfStorage", "float16", ElementType::kF16},
     {"BFloat16Storage", "bfloat16", ElementType::kBf16},
     {"LongStorage", "int64", ElementType::kI64},
     {"IntStorage", "int32", ElementType::kI32},
     {"ShortStorage", "int16", ElementType::kI16},
     {"CharStorage", "int8", ElementType::kI8},
     {"ByteStorage", "uint8", ElementType::kU8},
     {"BoolStorage", "bool", ElementType::kBool},
     {"ComplexFloatStorage", "complex64", ElementType::kC64},
     {"", "uint16", ElementType::kU16},
     {"", "uint32", ElementType::kU32},
     {"", "uint64", ElementType::kU64},
     {"", "float8_e4m3fn", ElementType::kF8E4m3},
     {"", "float8_e5m2", ElementType::kF8E5m2}}};

bool starts_with(std::span<const std::byte> bytes, std::string_view magic) {
  return bytes.size() >= magic.size() && std::memcmp(bytes.data(), magic.data(), magic.size()) == 0;
}

// The tar archive that torch before 0.2 wrote. A safetensors header may hold this word too.
bool is_tar(std::span<const std::byte> bytes) {
  constexpr std::size_t kTarMagicOffset = 257;  // POSIX.1-1988 ustar header
  return bytes.size() > kTarMagicOffset && bytes[8] != std::byte{'{'} &&
         starts_with(bytes.subspan(kTarMagicOffset), "ustar");
}

std::string_view last_part(std::string_view name) { return name.substr(name.rfind('.') + 1); }

}  // namespace

/// Finds the tensors in the pickles of one file.
class TorchFileReader {
 public:
  explicit TorchFileReader(TorchFile& file) : file_(file), path_(file.path()) {}

  void read_zip();
  void read_legacy();

 private:
  /// What a persistent id names: a storage's key and type.
  struct StorageId {
    std::string_view key;
    std::string_view type;  // last part of the class name
    std::uint64_t count = 0;
    std::uint64_t first = 0;  // element of the storage where a view of it begins
  };

  struct StorageSize {
    std::string_view type;
    std::uint64_t count = 0;
    std::uint64_t width = 0;  // bytes of an element; 0: not known
  };

  [[noreturn]] void refuse(const std::string& what) const { throw IoError(path_ + ": " + what); }
  const Object& at(Pickle::Ref ref) const { return (*pickle_)[ref]; }
  const Object& item(const Object& object, std::size_t i) const { return at(object.items[i]); }

  std::optional<StorageId> storage_id(const Object& object) const;
  std::map<std::string_view, StorageSize> storage_sizes() const;
  const Object* tensor_arguments(const Object& object) const;
  std::int64_t whole(const Object& object, const std::string& where) const;
  std::vector<std::int64_t> wholes(const Object& object, const std::string& where) const;
  void add_tensor(const std::string& name, const Object& arguments);
  std::vector<Pickle::Ref> dict_items(const Object& dict) const;
  std::size_t add_tensors(const std::vector<Pickle::Ref>& dict);
  void add_state_dict();

  TorchFile& file_;
  const std::string& path_;
  const Pickle* pickle_ = nullptr;
  std::map<std::string, std::span<const std::byte>, std::less<>> storages_;  // by key
  std::vector<TensorEntry> entries_;
};

// ("storage", class, key, location, count[, view]); before torch 0.4 a storage could be a view of
// another, (key, first element, count).
std::optional<TorchFileReader::StorageId> TorchFileReader::storage_id(const Object& object) const {
  if (object.kind != Pickle::Kind::kPersistent) return std::nullopt;
  const Object& id = item(object, 0);
  if (id.kind != Pickle::Kind::kTuple || id.items.size() < 5) return std::nullopt;
  const Object& tag = item(id, 0);
  const Object& type = item(id, 1);
  const Object& key = item(id, 2);
  const Object& count = item(id, 4);
  if (tag.kind != Pickle::Kind::kText || tag.text != "storage" ||
      type.kind != Pickle::Kind::kGlobal || key.kind != Pickle::Kind::kText ||
      count.kind != Pickle::Kind::kInt || count.whole < 0) {
    return std::nullopt;
  }
  StorageId out = {.key = key.text,
                   .type = last_part(type.text),
                   .count = static_cast<std::uint64_t>(count.whole)};
  if (id.items.size() > 5 && item(id, 5).kind != Pickle::Kind::kNone) {
    const Object& view = item(id, 5);
    if (view.kind != Pickle::Kind::kTuple || view.items.size() != 3 ||
        item(view, 1).kind != Pickle::Kind::kInt || item(view, 1).whole < 0) {
      return std::nullopt;
    }
    out.first = static_cast<std::uint64_t>(item(view, 1).whole);
  }
  return out;
}

// The arguments of the builder if this object is a tensor, else nullptr. Parameters and tensors
// with attributes wrap another tensor.
const Object* TorchFileReader::tensor_arguments(const Object& object) const {
  if (object.kind != Pickle::Kind::kCall) return nullptr;
  const std::string_view builder = item(object, 0).text;
  const Object& arguments = item(object, 1);
  if (arguments.kind != Pickle::Kind::kTuple) return nullptr;
  if (builder.starts_with("torch._utils._rebuild_tensor")) return &arguments;
  if (builder.starts_with("torch._utils._rebuild_parameter") && !arguments.items.empty()) {
    const Object& inner = item(arguments, 0);
    const bool is_tensor = inner.kind == Pickle::Kind::kCall &&
                           !item(inner, 0).text.starts_with("torch._utils._rebuild_parameter");
    return is_tensor ? tensor_arguments(inner) : nullptr;
  }
  // (builder, class, arguments, attributes)
  if (builder == "torch._tensor._rebuild_from_type_v2" && arguments.items.size() == 4) {
    const bool is_tensor = item(arguments, 0).kind == Pickle::Kind::kGlobal &&
                           item(arguments, 0).text.starts_with("torch._utils._rebuild_tensor") &&
                           item(arguments, 2).kind == Pickle::Kind::kTuple;
    return is_tensor ? &item(arguments, 2) : nullptr;
  }
  return nullptr;
}

std::int64_t TorchFileReader::whole(const Object& object, const std::string& where) const {
  if (object.kind != Pickle::Kind::kInt) {
    refuse(fmt::format("{} wants a whole number; got a {}", where, pickle_kind_name(object.kind)));
  }
  return object.whole;
}

std::vector<std::int64_t> TorchFileReader::wholes(const Object& object,
                                                  const std::string& where) const {
  // torch.Size((2, 3)) is a call with a tuple in its arguments.
  const Object* tuple = &object;
  if (object.kind == Pickle::Kind::kCall && item(object, 0).text == "torch.Size" &&
      item(object, 1).items.size() == 1) {
    tuple = &item(item(object, 1), 0);
  }
  if (tuple->kind != Pickle::Kind::kTuple || tuple->items.size() > kMaxTensorDimensions) {
    refuse(fmt::format("{} wants a tuple of at most {} numbers", where, kMaxTensorDimensions));
  }
  std::vector<std::int64_t> out;
  for (const auto ref : tuple->items) out.push_back(whole(at(ref), where));
  return out;
}

void TorchFileReader::add_tensor(const std::string& name, const Object& arguments) {
  const std::string where = fmt::format("tensor '{}'", printable_text(name));
  if (arguments.items.size() < 4) {
    refuse(where + " is damaged: its builder wants storage, offset, size and stride");
  }
  const auto id = storage_id(item(arguments, 0));
  if (!id) refuse(where + " has no storage");
  // After the hooks (an OrderedDict) there may be a dict with flags such as lazy conjugation.
  for (std::size_t i = 6; i < arguments.items.size(); ++i) {
    if (item(arguments, i).kind == Pickle::Kind::kDict && !item(arguments, i).items.empty()) {
      refuse(where +
             " is stored conjugated or negated; save it after .resolve_conj().resolve_neg()");
    }
  }
  // _rebuild_tensor_v3 has the dtype in the place after the hooks.
  const bool names_dtype =
      arguments.items.size() > 6 && item(arguments, 6).kind == Pickle::Kind::kGlobal;
  const std::string_view type_name = names_dtype ? last_part(item(arguments, 6).text) : id->type;
  const auto* const type =
      std::find_if(kTorchTypes.begin(), kTorchTypes.end(), [&](const TorchType& known) {
        return names_dtype ? known.dtype == type_name
                           : known.storage == type_name && !known.storage.empty();
      });
  if (type == kTorchTypes.end()) {
    refuse(fmt::format("{} is of type {}, which Lowbank does not read", where, type_name));
  }
  TensorEntry entry = {
      .name = name, .type = type->type, .shape = wholes(item(arguments, 2), where + ": size")};
  TorchFile::View view;
  view.strides = wholes(item(arguments, 3), where + ": stride");
  const auto offset = whole(item(arguments, 1), where + ": offset");
  const auto size = tensor_bytes(entry.type, entry.shape);
  if (!size || view.strides.size() != entry.shape.size() || offset < 0 ||
      std::any_of(view.strides.begin(), view.strides.end(), [](auto s) { return s < 0; })) {
    refuse(fmt::format("{} has the impossible shape [{}], strides [{}], offset {}", where,
                       fmt::join(entry.shape, ", "), fmt::join(view.strides, ", "), offset));
  }
  entry.size_bytes = *size;
  view.offset = id->first + static_cast<std::uint64_t>(offset);  // both below 2^63

  const auto storage = storages_.find(id->key);
  if (storage == storages_.end()) {
    refuse(fmt::format("{} lies in storage '{}', which the file does not hold", where,
                       printable_text(id->key)));
  }
  view.storage = storage->second;
  // The last element that is read must lie inside the storage.
  const auto element_bytes = static_cast<std::uint64_t>(block_bytes(entry.type));
  std::uint64_t last = view.offset;
  std::int64_t dense_stride = 1;
  view.is_contiguous = true;
  bool fits = true;
  // An empty tensor reads nothing, and its other lengths may have any value.
  for (std::size_t d = entry.size_bytes == 0 ? 0 : entry.shape.size(); d-- > 0;) {
    if (entry.shape[d] == 1) view.strides[d] = 0;  // this stride is never used and may be anything
    std::uint64_t reach = 0;
    fits = fits &&
           !__builtin_mul_overflow(static_cast<std::uint64_t>(entry.shape[d] - 1),
                                   static_cast<std::uint64_t>(view.strides[d]), &reach) &&
           !__builtin_add_overflow(last, reach, &last);
    if (entry.shape[d] != 1 && view.strides[d] != dense_stride) view.is_contiguous = false;
    dense_stride *= entry.shape[d];  // cannot overflow: no length is 0, tensor_bytes() went through
  }
  if (entry.size_bytes > 0 && (!fits || last >= view.storage.size() / element_bytes)) {
    refuse(fmt::format("{} reaches to element {} of storage '{}', which has {} bytes", where, last,
                       printable_text(id->key), view.storage.size()));
  }
  if (entry.size_bytes >
      std::max<std::uint64_t>(file_.mapping_->bytes().size(), kSmallTensorBytes)) {
    refuse(fmt::format("{} [{}] claims {} bytes, more than the whole file", where,
                       fmt::join(entry.shape, ", "), entry.size_bytes));
  }
  entries_.push_back(std::move(entry));
  file_.views_.push_back(std::move(view));
}

// The items of a dict: key, value, key, value, ...
std::vector<Pickle::Ref> TorchFileReader::dict_items(const Object& dict) const {
  if (dict.kind == Pickle::Kind::kDict) return dict.items;
  std::vector<Pickle::Ref> out;
  // Python 2 wrote an OrderedDict as a call with a list of pairs.
  const Object& arguments = item(dict, 1);
  if (arguments.kind == Pickle::Kind::kTuple && !arguments.items.empty() &&
      item(arguments, 0).kind == Pickle::Kind::kList) {
    for (const auto ref : item(arguments, 0).items) {
      const auto& pair = at(ref).items;
      if (pair.size() == 2) out.insert(out.end(), pair.begin(), pair.end());
    }
  }
  out.insert(out.end(), dict.items.begin() + 2, dict.items.end());
  return out;
}

// Adds the tensors that are values of this dict; returns how many there are.
std::size_t TorchFileReader::add_tensors(const std::vector<Pickle::Ref>& dict) {
  std::size_t count = 0;
  std::set<std::string_view> seen;
  for (std::size_t i = 0; i + 1 < dict.size(); i += 2) {
    const Object& key = at(dict[i]);
    if (key.kind != Pickle::Kind::kText) continue;
    if (const Object* const arguments = tensor_arguments(at(dict[i + 1]))) {
      if (find_invalid_utf8(key.text) != std::string_view::npos) {
        refuse("the name of a tensor is not UTF-8");
      }
      if (!seen.insert(key.text).second) {
        refuse(fmt::format("holds two tensors '{}'", printable_text(key.text)));
      }
      if (++count > kMaxTensors) refuse(fmt::format("holds more than {} tensors", kMaxTensors));
      add_tensor(std::string(key.text), *arguments);
    }
  }
  return count;
}

void TorchFileReader::add_state_dict() {
  const Object& root = pickle_->root();
  const auto is_dict = [&](const Object& object) {
    return object.kind == Pickle::Kind::kDict ||
           (object.kind == Pickle::Kind::kCall && item(object, 0).text.starts_with("collections."));
  };
  if (!is_dict(root)) {
    refuse(fmt::format("holds a {}, not a state dict (torch.save(model.state_dict(), ...))",
                       pickle_kind_name(root.kind)));
  }
  const auto items = dict_items(root);
  if (items.empty()) return;  // an empty state dict
  // A key that occurs twice has its last value, as in Python.
  std::map<std::string_view, const Object*> wrapped;
  std::vector<std::string> keys;
  for (std::size_t i = 0; i + 1 < items.size(); i += 2) {
    const Object& key = at(items[i]);
    if (key.kind != Pickle::Kind::kText) continue;
    if (key.text == "state_dict" || key.text == "model" || key.text == "module") {
      wrapped[key.text] = &at(items[i + 1]);
    }
    if (keys.size() < 10) keys.push_back(printable_text(key.text.substr(0, 40)));
  }
  // These keys come first: a training checkpoint may also hold a tensor at the top (the best
  // accuracy, for example).
  for (const auto* name : {"state_dict", "model", "module"}) {
    const auto found = wrapped.find(name);
    if (found == wrapped.end() || !is_dict(*found->second)) continue;
    if (add_tensors(dict_items(*found->second)) > 0) return;
  }
  if (add_tensors(items) > 0) return;
  refuse(
      fmt::format("has no tensors at its top nor under state_dict, model or module; its keys: {}",
                  fmt::join(keys, ", ")));
}

void TorchFileReader::read_zip() {
  const ZipFile zip(file_.mapping_);
  const std::pair<const std::string, std::span<const std::byte>>* pickle_entry = nullptr;
  for (const auto& entry : zip.entries()) {
    const bool is_pickle = entry.first.ends_with("/data.pkl") &&
                           std::count(entry.first.begin(), entry.first.end(), '/') == 1;
    if (!is_pickle) continue;
    if (pickle_entry != nullptr) refuse("is a zip archive with more than one data.pkl");
    pickle_entry = &entry;
  }
  if (pickle_entry == nullptr) refuse("is a zip archive, but not one of torch.save (no data.pkl)");
  const std::string folder =
      pickle_entry->first.substr(0, pickle_entry->first.size() - std::string("data.pkl").size());
  if (const auto order = zip.entries().find(folder + "byteorder"); order != zip.entries().end()) {
    const std::string_view text(reinterpret_cast<const char*>(order->second.data()),
                                order->second.size());
    if (text != "little") refuse("was written on a big-endian machine; only little-endian is read");
  }
  for (const auto& [name, bytes] : zip.entries()) {
    if (name.starts_with(folder + "data/")) {
      storages_.emplace(name.substr(folder.size() + 5), bytes);
    }
  }
  const Pickle pickle(pickle_entry->second, path_ + ": " + pickle_entry->first);
  pickle_ = &pickle;
  for (const auto& [key, size] : storage_sizes()) {
    const auto record = storages_.find(key);
    if (record != storages_.end() && size.width != 0 &&
        (record->second.size() % size.width != 0 ||
         record->second.size() / size.width != size.count)) {
      refuse(fmt::format("storage '{}' has {} bytes, its tensors want {} elements of {}",
                         printable_text(key), record->second.size(), size.count, size.width));
    }
  }
  add_state_dict();
  file_.set_entries(std::move(entries_));
}

// The size of each storage according to the pickle, by key.
std::map<std::string_view, TorchFileReader::StorageSize> TorchFileReader::storage_sizes() const {
  std::map<std::string_view, StorageSize> sizes;
  for (Pickle::Ref ref = 0; ref < pickle_->size(); ++ref) {
    const auto id = storage_id(at(ref));
    if (!id) continue;
    const auto* const type =
        std::find_if(kTorchTypes.begin(), kTorchTypes.end(), [&](const TorchType& known) {
          return known.storage == id->type && !known.storage.empty();
        });
    // Untyped storages count bytes.
    const std::uint64_t width = id->type == "UntypedStorage" ? 1
                                : type == kTorchTypes.end()
                                    ? 0
                                    : static_cast<std::uint64_t>(block_bytes(type->type));
    sizes[id->key] = {.type = id->type, .count = id->count, .width = width};
  }
  return sizes;
}

// A legacy file has pickles of the magic number, the protocol, the system, the object and the list
// of storage keys. The storages follow in the order of the keys, each after its number of elements.
void TorchFileReader::read_legacy() {
  auto rest = file_.mapping_->bytes().subspan(kLegacyMagic.size());
  const auto next = [&](const char* what) {
    Pickle pickle(rest, fmt::format("{}: {}", path_, what));
    rest = rest.subspan(pickle.size_bytes());
    return pickle;
  };
  const Pickle protocol = next("protocol");
  if (protocol.root().kind != Pickle::Kind::kInt || protocol.root().whole != 1001) {
    refuse("is a torch stream of an unknown protocol (1001 is read)");
  }
  const Pickle system = next("system");
  const auto& facts = system.root().items;
  for (std::size_t i = 0; i + 1 < facts.size(); i += 2) {
    if (system[facts[i]].text == "little_endian" && system[facts[i + 1]].whole == 0) {
      refuse("was written on a big-endian machine; only little-endian is read");
    }
  }
  const Pickle pickle = next("object");
  pickle_ = &pickle;
  // The width of a storage's elements is known only from the tensors that use it.
  const auto sizes = storage_sizes();
  const Pickle keys = next("storage keys");
  if (keys.root().kind != Pickle::Kind::kList) refuse("has no list of storage keys");
  for (const auto ref : keys.root().items) {
    const std::string key(keys[ref].text);
    const auto size = sizes.find(key);
    if (keys[ref].kind != Pickle::Kind::kText || size == sizes.end()) {
      refuse(fmt::format("storage '{}' belongs to no tensor", printable_text(key)));
    }
    if (size->second.width == 0) {
      refuse(fmt::format("storage '{}' is a {}, which Lowbank does not read", printable_text(key),
                         printable_text(size->second.type)));
    }
    std::uint64_t count = 0, num_bytes = 0;
    if (rest.size() < sizeof count) {
      refuse(fmt::format("is cut off before storage '{}'", printable_text(key)));
    }
    std::memcpy(&count, rest.data(), sizeof count);
    rest = rest.subspan(sizeof count);
    if (count != size->second.count ||
        __builtin_mul_overflow(count, size->second.width, &num_bytes) || num_bytes > rest.size()) {
      refuse(
          fmt::format("storage '{}' of {} elements (announced: {}) does not fit into the {} "
                      "bytes that are left: the file is cut off or damaged",
                      printable_text(key), count, size->second.count, rest.size()));
    }
    storages_.emplace(key, rest.first(static_cast<std::size_t>(num_bytes)));
    rest = rest.subspan(static_cast<std::size_t>(num_bytes));
  }
  add_state_dict();
  file_.set_entries(std::move(entries_));
}

bool looks_like_torch_file(std::span<const std::byte> head) {
  return starts_with(head, kZipMagic) || starts_with(head, kLegacyMagic) || is_tar(head);
}

std::shared_ptr<const TorchFile> TorchFile::open(const std::string& path) {
  std::shared_ptr<TorchFile> file(new TorchFile(path));
  file->mapping_ = MappedFile::open(path);
  TorchFileReader reader(*file);
  if (starts_with(file->mapping_->bytes(), kZipMagic)) {
    reader.read_zip();
  } else if (starts_with(file->mapping_->bytes(), kLegacyMagic)) {
    reader.read_legacy();
  } else if (is_tar(file->mapping_->bytes())) {
    throw IoError(path +
                  ": is a tar archive, as torch before 0.2 wrote them; load and save it again with "
                  "torch");
  } else {
    throw IoError(path + ": is no file of torch.save (neither a zip archive nor its older form)");
  }
  return file;
}

std::span<const std::byte> TorchFile::bytes(const TensorEntry& entry,
                                            std::vector<std::byte>& scratch) const {
  const View& view = views_[static_cast<std::size_t>(&entry - entries().data())];
  const auto width = static_cast<std::size_t>(block_bytes(entry.type));
  const auto size = static_cast<std::size_t>(entry.size_bytes);
  if (size == 0) return {};
  if (view.is_contiguous) {
    return view.storage.subspan(static_cast<std::size_t>(view.offset) * width, size);
  }
  scratch.resize(size);
  const std::size_t rank = entry.shape.size();
  std::vector<std::int64_t> index(rank, 0);
  auto from = static_cast<std::int64_t>(view.offset);
  for (std::size_t to = 0; to < size; to += width) {
    std::memcpy(&scratch[to], &view.storage[static_cast<std::size_t>(from) * width], width);
    // Steps to the next element; the last dimension changes fastest.
    for (std::size_t d = rank; d-- > 0;) {
      from += view.strides[d];
      if (++index[d] < entry.shape[d]) break;
      from -= view.strides[d] * entry.shape[d];
      index[d] = 0;
    }
  }
  return scratch;
}

}  // namespace lowbank
