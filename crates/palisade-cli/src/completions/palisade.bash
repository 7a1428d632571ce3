# What TAB offers for palisade in bash. Made by: palisade completions bash

_palisade() {
    local rest=${COMP_LINE:0:COMP_POINT} words=() part glued i
    # bash cuts words at : and = too. A part that has no space before it belongs to the word before.
    for ((i = 0; i <= COMP_CWORD; i++)); do
        glued=
        [[ $i == 0 || $rest == [[:space:]]* ]] || glued=1
        rest=${rest#"${rest%%[![:space:]]*}"}
        part=${COMP_WORDS[i]}
        ((i < COMP_CWORD)) || part=$rest
        rest=${rest#"$part"}
        if [[ $glued ]]; then words[-1]+=$part; else words+=("$part"); fi
    done
    # What readline does not replace of the last word: all up to the last such cut, unless it is in quotes.
    local word=${words[-1]} breaks=${COMP_WORDBREAKS//[^:=]/} kept=
    if [[ $breaks && $word != [\'\"]* ]]; then
        kept=${word%"${word##*["$breaks"]}"}
        kept=${kept//\\/}
    fi
    words=("${words[@]//[\'\"\\]/}")

    local line IFS=
    COMPREPLY=()
    while IFS= read -r line; do
        line=${line%%$'\t'*}
        COMPREPLY+=("${line#"$kept"}")
    done < <(command palisade completions --complete -- "${words[@]}" 2>/dev/null)
    case ${COMPREPLY[*]} in
    # Names of files: readline quotes them, and sets no space after a folder.
    *[/[:space:]\'\"\\\$\&\;\|\<\>\(\)\*\?]*) compopt -o filenames ;;
    *[:=,]) compopt -o nospace ;;
    esac
}

complete -o bashdefault -o nosort -F _palisade palisade
