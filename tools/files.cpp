#include "tools/files.hpp"

#include "harness/binary.hpp"
#include "harness/text.hpp"

#include <algorithm>
#include <cerrno>
#include <cstdio>
#include <cstring>
#include <filesystem>
#include <fmt/core.h>
#include <unistd.h>

namespace dmaudit {
namespace fs = std::filesystem;
namespace {

// By its name, else by how it begins: a binary case may hold any bytes.
bool looks_like_text(const std::string& path, const std::string& bytes)
{
    if (path.ends_with(".dma") || path.ends_with(".txt"))
        return true;
    if (path.ends_with(".bin"))
        return false;
    return bytes.starts_with("# ") || bytes.starts_with("world ");
}

// NAME of the first line `# provider: NAME`.
std::string provider_comment(std::string_view text)
{
    constexpr std::string_view mark = "# provider: ";
    while (!text.empty()) {
        const std::string_view line = text.substr(0, text.find('\n'));
        if (line.starts_with(mark))
            return std::string(line.substr(mark.size()));
        text.remove_prefix(std::min(text.size(), line.size() + 1));
    }
    return {};
}

// Where the links lead; a link to what there is not yet leads there, too.
fs::path behind_links(fs::path path)
{
    std::error_code ec;
    for (unsigned links = 0; links < 40 && fs::is_symlink(path, ec); links++) {
        const fs::path to = fs::read_symlink(path, ec);
        if (ec)
            break;
        path = to.is_absolute() ? to : path.parent_path() / to;
    }
    return path;
}

} // namespace

Loaded load_case(const std::string& path)
{
    Loaded out;
    std::FILE* f = std::fopen(path.c_str(), "rb");
    if (!f) {
        out.error = fmt::format("{}: cannot be read: {}", path, std::strerror(errno));
        return out;
    }
    std::string bytes(max_text + 1, '\0');
    bytes.resize(std::fread(bytes.data(), 1, bytes.size(), f));
    const bool failed = std::ferror(f) != 0;
    std::fclose(f);
    if (failed) {
        out.error = fmt::format("{}: cannot be read: {}", path, std::strerror(errno));
        return out;
    }
    if (bytes.size() > max_text) {
        out.error = fmt::format("{}: a case file has at most {} bytes", path, max_text);
        return out;
    }
    out.was_text = looks_like_text(path, bytes);
    if (!out.was_text) {
        decode({reinterpret_cast<const uint8_t*>(bytes.data()), bytes.size()}, out.value);
        out.ok = true;
        return out;
    }
    out.provider = provider_comment(bytes);
    Parsed parsed = parse(bytes);
    out.ok = parsed.ok;
    out.value = parsed.value;
    if (!parsed.ok)
        out.error = fmt::format("{}:{}: {}", path, parsed.error.line, parsed.error.message);
    return out;
}

bool list_files(const std::vector<std::string>& paths, std::vector<std::string>& files, std::string& error)
{
    for (const std::string& p : paths) {
        std::error_code ec;
        const auto status = fs::status(p, ec);
        if (!fs::exists(status)) {
            error = fmt::format("{}: no such file or folder", p);
            return false;
        }
        if (!fs::is_directory(status)) {
            files.push_back(p);
            continue;
        }
        std::vector<std::string> below;
        for (auto it = fs::recursive_directory_iterator(p, ec); !ec && it != fs::recursive_directory_iterator();
             it.increment(ec)) {
            std::error_code unknown; // a link in a circle: reading it will tell
            const bool file = it->is_regular_file(unknown) || (unknown && it->is_symlink());
            if (file && it->path().filename().string().front() != '.' && it->path().extension() != ".md")
                below.push_back(it->path().string());
        }
        if (ec) {
            error = fmt::format("{}: cannot be listed: {}", p, ec.message());
            return false;
        }
        std::sort(below.begin(), below.end());
        files.insert(files.end(), below.begin(), below.end());
    }
    return true;
}

std::string write_file(const std::string& path, std::string_view content)
{
    const auto failed = [&](int why) { return fmt::format("{}: cannot be written: {}", path, std::strerror(why)); };
    const std::string target = behind_links(path).string();
    std::error_code ec;
    const fs::file_status status = fs::status(target, ec);
    const bool special = fs::exists(status) && !fs::is_regular_file(status); // a device, a pipe: nothing to replace
    const std::string file = special ? target : fmt::format("{}.{}.tmp", target, getpid());
    std::FILE* f = std::fopen(file.c_str(), "wb");
    if (!f)
        return failed(errno);
    const bool ok = std::fwrite(content.data(), 1, content.size(), f) == content.size() && std::fflush(f) == 0;
    const int why = errno;
    const bool closed = std::fclose(f) == 0;
    if (special)
        return ok && closed ? std::string() : failed(ok ? errno : why);
    if (closed && ok && std::rename(file.c_str(), target.c_str()) == 0)
        return {};
    const std::string error = failed(ok ? errno : why);
    std::remove(file.c_str());
    return error;
}

std::string why_unwritable(const std::string& path)
{
    if (path.empty())
        return {};
    const std::string target = behind_links(path).string();
    std::error_code ec;
    const fs::file_status status = fs::status(target, ec);
    if (fs::is_directory(status))
        return fmt::format("{}: is a folder", path);
    if (fs::exists(status) && !fs::is_regular_file(status))
        return {};
    return access(fs::absolute(target).parent_path().c_str(), W_OK) == 0
               ? ""
               : fmt::format("{}: the folder cannot be written to", path);
}

std::string shell_word(const std::string& text)
{
    constexpr std::string_view plain = "abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789_./:=+@%,-";
    if (text.find_first_not_of(plain) == std::string::npos && !text.empty())
        return text.front() == '-' ? "./" + text : text;
    std::string out = text.starts_with('-') ? "./'" : "'";
    for (const char c : text)
        out += c == '\'' ? "'\\''" : std::string(1, c);
    return out + '\'';
}

std::string content_name(std::string_view content)
{
    uint64_t h = 0xcbf29ce484222325;
    for (const char c : content)
        h = (h ^ static_cast<uint8_t>(c)) * 0x100000001b3;
    return fmt::format("{:016x}", h);
}

} // namespace dmaudit
