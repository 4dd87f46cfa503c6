#pragma once

namespace lowbank {

/// From here on Ctrl-C (SIGINT), SIGTERM and a closed terminal (SIGHUP, unless nohup ignores it)
/// only set a flag; a second Ctrl-C ends the process.
void install_signal_handlers();

/// A closed pipe or a file size limit becomes a failed write instead of a signal. For every program,
/// first of all; the programs that it starts inherit it.
void ignore_write_signals();

/// True after Ctrl-C, SIGTERM or SIGHUP. Long loops ask at each step, save their work, and throw
/// Interrupted.
bool interrupt_requested();

/// For the loops of a stage that has nothing to save. Errors: Interrupted if interrupt_requested().
void stop_if_interrupted();

}  // namespace lowbank
