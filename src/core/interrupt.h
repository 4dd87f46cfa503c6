#pragma once

namespace lowbank {

/// From here on Ctrl-C (SIGINT) and SIGTERM only set a flag; a second Ctrl-C ends the process.
/// A closed pipe or a file size limit becomes a failed write instead of a signal.
void install_signal_handlers();

/// True once Ctrl-C was pressed: long loops ask at each step, save, and throw Interrupted.
bool interrupt_requested();

}  // namespace lowbank
