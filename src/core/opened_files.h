#pragma once

#include <string>
#include <vector>

namespace lowbank {

/// Remembers that this process read the regular file at `path`. Every reader of files calls it, so
/// that a stage's record can name all its inputs, those included that no key of the recipe names (a
/// preset, and the parts that it names).
void note_opened_file(const std::string& path);

/// Remembers that this process looked for a file at `path`, found none, and went on without it or
/// with another one. If there is a file later, the result may change.
void note_missing_file(const std::string& path);

/// Every file noted by note_opened_file() since the start or the last forget_opened_files(), sorted.
std::vector<std::string> opened_files();

/// Every place noted by note_missing_file() likewise, sorted.
std::vector<std::string> missing_files();

/// Whether the file at `path` is another one than when it was first noted as opened, or was written
/// since. False for a file that was not noted.
bool has_changed_since_opened(const std::string& path);

/// For files whose content reaches the result in another recorded way: the recipe, through the
/// settings.
void forget_opened_files();

}  // namespace lowbank
