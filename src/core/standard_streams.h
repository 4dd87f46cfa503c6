#pragma once

namespace lowbank {

/// Opens a device in place of each descriptor from 0 to 2 that is closed (`command >&-`), so that no
/// file that the program opens later gets the number of a standard stream. The first call of every
/// program. The devices are closed again in programs that this one starts, which thus see the streams
/// as they were.
/// Errors: IoError if the device cannot be opened.
void open_standard_streams();

/// Whether open_standard_streams() found this descriptor closed: what is printed there is lost, and
/// nothing can be read from it.
bool was_closed_at_start(int descriptor);

}  // namespace lowbank
