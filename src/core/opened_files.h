#pragma once

#include <string>
#include <vector>

namespace lowbank {

/// Remembers that this process read the regular file at `path`. Every reader of files calls it, so
/// that a stage's record can name all its inputs, those included that no key of the recipe names (a
/// preset, and the parts that it names).
void note_opened_file(const std::string& path);

/// Every file noted since the start or the last forget_opened_files(), sorted.
std::vector<std::string> opened_files();

/// For files whose content reaches the result in another recorded way: the recipe, through the
/// settings.
void forget_opened_files();

}  // namespace lowbank
