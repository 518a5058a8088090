//! The scripts. Each gives the words of the line to this program and the candidates to its shell;
//! `PROGRAM` stands for the name that the program was called by.

/// Bash takes words apart at colons and equals signs, too, so the line is taken apart here anew, and
/// what bash will not replace is cut off the candidates.
pub(super) const BASH: &str = r#"_PROGRAM_complete() {
    local current head="" directive
    local -a words found
    read -ra words <<< "${COMP_LINE:0:COMP_POINT}"
    [[ ${COMP_LINE:0:COMP_POINT} == *[[:space:]] ]] && words+=("")
    current=${words[${#words[@]}-1]}
    mapfile -t found < <("${words[0]}" __completeNoDesc "${words[@]:1}" 2>/dev/null)
    COMPREPLY=()
    [[ ${#found[@]} -eq 0 ]] && return
    directive=${found[${#found[@]}-1]#:}
    unset "found[${#found[@]}-1]"
    if [[ $current == *[:=]* && $COMP_WORDBREAKS == *:* ]]; then
        head=${current%"${current##*[:=]}"}
    fi
    COMPREPLY=("${found[@]#"$head"}")
    (( directive & 2 )) && compopt -o nospace
    (( directive & 4 )) || compopt -o default
}
complete -F _PROGRAM_complete PROGRAM
"#;

pub(super) const ZSH: &str = r#"#compdef PROGRAM
_PROGRAM() {
    local line directive
    local -a found described
    found=("${(@f)$(${words[1]} __complete "${(@)words[2,CURRENT]}" 2>/dev/null)}")
    directive=${found[-1]#:}
    for line in "${(@)found[1,-2]}"; do
        if [[ $line == *$'\t'* ]]; then
            described+=("${${line%%$'\t'*}//:/\\:}:${line#*$'\t'}")
        else
            described+=("${line//:/\\:}")
        fi
    done
    [[ ${words[CURRENT]} == -*=* ]] && compset -P '*='
    if (( directive & 2 )); then
        _describe -V PROGRAM described -S ''
    else
        _describe -V PROGRAM described
    fi
    (( directive & 4 )) || _files
}
compdef _PROGRAM PROGRAM
"#;

pub(super) const FISH: &str = r#"function __PROGRAM_complete
    set -l line (commandline -opc) (commandline -ct)
    set -l found ($line[1] __complete $line[2..-1] 2>/dev/null)
    test (count $found) -gt 0; or return
    set -l flag (string match -r -- '^-[^=]*=' (commandline -ct))
    for candidate in $found[1..-2]
        test -n "$candidate"; and echo -- "$flag$candidate"
    end
    contains -- $found[-1] :0 :2; and __fish_complete_path (commandline -ct)
end
complete -c PROGRAM -f -a '(__PROGRAM_complete)'
"#;
