// Case files: reading text and binary, writing without ever leaving half a file.
#pragma once
#include "harness/case.hpp"

#include <string>
#include <vector>

namespace dmaudit {

struct Loaded {
    bool ok = false;
    bool was_text = false;
    Case value;
    std::string provider; // from the comment `# provider: NAME`; empty: none
    std::string error;    // names the file, the line and what was expected
};
Loaded load_case(const std::string& path);

// The files below the given paths, sorted: a folder stands for every file in it and below. An error names the path.
bool list_files(const std::vector<std::string>& paths, std::vector<std::string>& files, std::string& error);

// Writes to a temporary file beside `path`, then renames it; where `path` is a link, beside and over what it leads to.
// Devices and pipes are written to. Empty, or what went wrong.
std::string write_file(const std::string& path, std::string_view content);

// Empty, or why write_file() could not write to this path: to be asked before long work. An empty path is fine.
std::string why_unwritable(const std::string& path);

// A file's name as a word of a shell command.
std::string shell_word(const std::string& text);

// For messages and JSON-free output: a name for content, the same on every machine.
std::string content_name(std::string_view content);

} // namespace dmaudit
