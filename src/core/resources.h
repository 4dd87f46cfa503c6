#pragma once

#include <string>

namespace lowbank {

/// Path of a file that ships with Lowbank, "configs/pim/gpu-a100.json".
///
/// Looks in $LOWBANK_HOME, then in every folder from the executable's up to the root (a source
/// tree), then in ../share/lowbank of the executable's folder (an installation).
/// Errors: IoError that lists the places where it looked.
std::string find_resource(const std::string& relative);

/// The name by which find_resource would find the file at `path`, if it found it before; else "". A
/// record names a shipped file so, and notices when another installation has another content.
std::string resource_name(const std::string& path);

/// The one way from a path that a person or a recipe gives to the file that is read: `path` itself if
/// it exists; else, for a relative path, the file next to the recipe (in `recipe_folder`, if the path
/// comes from a recipe); else, for `configs/...` and `data/samples/...`, the file that ships with
/// Lowbank. Else `path`, so that the reader reports it as missing.
std::string find_input(const std::string& path, const std::string& recipe_folder = {});

/// Folder of the running executable.
std::string executable_folder();

}  // namespace lowbank
