#pragma once

#include <cstddef>
#include <cstdint>
#include <deque>
#include <span>
#include <string>
#include <string_view>
#include <vector>

namespace lowbank {

/// The objects that a pickle describes. They are only described, not created: nothing is imported,
/// called or executed. Objects refer to each other by number, so shared and even cyclic references
/// cost nothing.
class Pickle {
 public:
  using Ref = std::uint32_t;
  enum class Kind {
    kMark,  // only on the stack while reading
    kNone,
    kBool,
    kInt,
    kBigInt,  ///< `text` has its little-endian bytes
    kFloat,
    kText,
    kBytes,
    kList,  ///< list, set or frozenset
    kTuple,
    kDict,        ///< `items` are key, value, key, value, ...
    kGlobal,      ///< `text` is "module.name"
    kCall,        ///< `items` are the callable, its arguments (a tuple), and states set later
    kPersistent,  ///< `items` has the id of an object that torch stores outside of the pickle
  };
  struct Object {
    Kind kind = Kind::kNone;
    std::int64_t whole = 0;      ///< value of kBool and kInt
    double real = 0;             ///< value of kFloat
    std::string_view text = {};  ///< a view into the bytes read, or into the Pickle
    std::vector<Ref> items = {};
  };

  /// Reads one pickle of protocol 0 to 5 from the front of `bytes`, which must outlive it.
  ///
  /// Source:  Python's Lib/pickletools.py (opcodes and their arguments).
  /// Differs: only globals that a state dict needs are allowed (torch's storages, dtypes and tensor
  ///          builders, OrderedDict, containers of plain values, numpy's values).
  /// Errors: IoError naming `source`, the byte, and the global or opcode that is refused.
  Pickle(std::span<const std::byte> bytes, const std::string& source);

  const Object& root() const { return objects_[root_]; }
  const Object& operator[](Ref ref) const { return objects_[ref]; }
  /// Number of objects; every Ref below it is valid.
  std::size_t size() const { return objects_.size(); }
  /// Number of bytes of the pickle.
  std::size_t size_bytes() const { return size_bytes_; }

 private:
  friend class PickleReader;
  std::vector<Object> objects_;
  std::deque<std::string> names_;  // names of globals that were joined from two texts; never moved
  Ref root_ = 0;
  std::size_t size_bytes_ = 0;
};

/// The name of a kind in error messages: "dict", "list", ...
std::string_view pickle_kind_name(Pickle::Kind kind);

/// A text from a file, made fit for an error message: cut to 80 bytes, with '?' for every byte that
/// is not printable ASCII.
std::string printable_text(std::string_view text);

}  // namespace lowbank
