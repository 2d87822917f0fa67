#!/usr/bin/env bash
# Has a shell complete a command line with our script, as if its user had pressed Tab, and checks what
# becomes of the last word.
#
# complete.sh SCRIPT LINE WORD
#
# SCRIPT is stentor.bash, _stentor (zsh) or stentor.fish, and decides which shell is asked. Where the
# only possible word is not WORD it fails, and says what the shell did.
set -euo pipefail
script=$(realpath "$1") line=$2 word=$3

in_bash() {
    bash --norc -s -- "$script" "$line" <<'BASH'
        source "$1"
        # What readline gives: the words, and which of them is to be completed.
        read -ra COMP_WORDS <<<"$2"
        COMP_CWORD=$((${#COMP_WORDS[@]} - 1))
        function=$(complete -p stentor | grep -o "\-F [^ ]*")
        "${function#-F }" stentor "${COMP_WORDS[-1]}" "${COMP_WORDS[-2]}"
        printf "%s\n" "${COMPREPLY[@]}"
BASH
}
in_fish() {
    # Each word is followed by a tab and what it means.
    fish --no-config -c 'source $argv[1]; complete -C $argv[2]' "$script" "$line" | cut -f1
}
# zsh completes at a terminal alone, and has a module that makes one. There it gets the line, Tab, and a
# key that prints what has become of the line.
in_zsh() {
    zsh -f -s -- "${script%/*}" "$line" <<'ZSH' | tr -d '\r' | sed -n 's/^LINE .* \([^ ][^ ]*\) *;$/\1/p'
        zmodload zsh/zpty
        zpty -b inner zsh -f -i
        zpty -w inner "fpath=(${(q)1} \$fpath); autoload -Uz compinit; compinit -D -u"
        zpty -w inner 'show() { print; print -r -- "LINE $BUFFER;"; zle kill-whole-line }'
        zpty -w inner 'zle -N show; bindkey "^I" complete-word; bindkey "^X" show'
        zpty -w -n inner "$2"$'\t\x18'
        for attempt in {1..300}; do
            while zpty -r -t inner part; do said+=$part; done
            [[ $said = *"LINE $2"*";"* ]] && break
            sleep 0.1
        done
        print -r -- "$said"
        zpty -d inner
ZSH
}
case $script in
*.bash) said=$(in_bash) ;;
*.fish) said=$(in_fish) ;;
*) said=$(in_zsh) ;;
esac
[[ $said = "$word" ]] || {
    echo "\`$line\` was completed with: $said"
    exit 1
}
