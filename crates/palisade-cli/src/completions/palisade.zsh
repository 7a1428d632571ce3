#compdef palisade
# What TAB offers for palisade in zsh. Made by: palisade completions zsh

_palisade() {
    local line value text
    local -a closed closed_text open open_text how
    # A tilde is not to be quoted.
    [[ $PREFIX == \~* ]] && how=(-Q)
    for line in "${(@f)$(command palisade completions --complete -- "${(@Q)words[1,CURRENT-1]}" "${(Q)PREFIX}" 2>/dev/null)}"; do
        [[ -n $line ]] || continue
        value=${line%%$'\t'*}
        text=$value
        [[ $line == *$'\t'?* ]] && text="$value  -- ${line#*$'\t'}"
        # After these the word goes on.
        if [[ $value == *[:=/,] ]]; then
            open+=("$value") open_text+=("$text")
        else
            closed+=("$value") closed_text+=("$text")
        fi
    done
    compadd $how -V palisade -S '' -d open_text -a open
    compadd $how -V palisade -d closed_text -a closed
}

if [[ $funcstack[1] == _palisade ]]; then
    _palisade "$@"
else
    compdef _palisade palisade
fi
