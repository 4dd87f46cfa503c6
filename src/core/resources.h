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

/// `path` itself if it exists. Else, for a relative path, the file of that name that ships with
/// Lowbank, so that recipes work from any folder. Else `path`, so that the reader reports it as
/// missing.
std::string find_input(const std::string& path);

/// Folder of the running executable.
std::string executable_folder();

}  // namespace lowbank
