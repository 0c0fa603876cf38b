"""Prints what makes a shell complete btfd's command line. Made from the command line itself.

btfd completion bash > ~/.local/share/bash-completion/completions/btfd
btfd completion zsh > ~/.zfunc/_btfd
btfd completion fish > ~/.config/fish/completions/btfd.fish
"""

import argparse
import shlex
from collections.abc import Iterator

from btfd.cli.output import Output
from btfd.engine import Core


def arguments(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("shell", choices=sorted(_SHELLS))


def run(args: argparse.Namespace, out: Output, core: Core | None = None) -> int:
    from btfd.__main__ import VERBS, parser

    out.text(_SHELLS[args.shell](verbs(parser(VERBS))))
    return 0


def verbs(top: argparse.ArgumentParser) -> dict[str, tuple[str, argparse.ArgumentParser]]:
    """Every verb with its summary and its command line."""
    for action in top._actions:
        if isinstance(action, argparse._SubParsersAction):
            summaries = {choice.dest: choice.help or "" for choice in action._choices_actions}
            return {name: (summaries[name], sub) for name, sub in action.choices.items()}
    return {}


def options(parser: argparse.ArgumentParser) -> Iterator[tuple[argparse.Action, str]]:
    """Options with their help, as --help words it."""
    formatter = argparse.HelpFormatter(parser.prog)
    for action in parser._actions:
        if action.option_strings and action.help != argparse.SUPPRESS:
            yield action, formatter._expand_help(action) if action.help else ""


def values(parser: argparse.ArgumentParser) -> Iterator[tuple[str, list[str]]]:
    """Options that take one of a few words."""
    for action, _ in options(parser):
        if action.choices:
            for option in action.option_strings:
                yield option, [str(choice) for choice in action.choices]


_Verbs = dict[str, tuple[str, argparse.ArgumentParser]]


def bash(known: _Verbs) -> str:
    """A function for bash-completion."""
    lines = [
        "_btfd() {",
        "    local cur=${COMP_WORDS[COMP_CWORD]} prev=${COMP_WORDS[COMP_CWORD-1]} options=",
        "    if [ $COMP_CWORD -eq 1 ]; then",
        f'        COMPREPLY=($(compgen -W "{" ".join(known)}" -- "$cur"))',
        "        return",
        "    fi",
        '    case "${COMP_WORDS[1]} $prev" in',
    ]
    for name, (_, parser) in known.items():
        for option, words in values(parser):
            reply = f'COMPREPLY=($(compgen -W "{" ".join(words)}" -- "$cur")); return'
            lines.append(f'    "{name} {option}") {reply} ;;')
    lines += ["    esac", '    case "${COMP_WORDS[1]}" in']
    for name, (_, parser) in known.items():
        every = " ".join(
            option for action, _ in options(parser) for option in action.option_strings
        )
        lines.append(f'    {name}) options="{every}" ;;')
    lines += [
        "    esac",
        '    if [[ $cur == -* ]]; then COMPREPLY=($(compgen -W "$options" -- "$cur"))',
        '    else COMPREPLY=($(compgen -f -- "$cur"))',
        "    fi",
        "}",
        "complete -o filenames -F _btfd btfd",
    ]
    return "\n".join(lines) + "\n"


def zsh(known: _Verbs) -> str:
    """A function for zsh."""
    lines = ["#compdef btfd", "_btfd() {", "    local -a verbs=("]
    for name, (summary, _) in known.items():
        lines.append(f"        {shlex.quote(f'{name}:{summary}')}")
    lines += [
        "    )",
        "    if (( CURRENT == 2 )); then _describe verb verbs; return; fi",
        "    case $words[2] in",
    ]
    for name, (_, parser) in known.items():
        specs = []
        for action, text in options(parser):
            told = text.replace("[", "(").replace("]", ")").replace(":", ",")
            taken = ""
            if action.nargs != 0:
                taken = (
                    f":value:({' '.join(map(str, action.choices))})"
                    if action.choices
                    else ":value:_files"
                )
            specs += [shlex.quote(f"{option}[{told}]{taken}") for option in action.option_strings]
        lines.append(f"    {name}) _arguments -s {' '.join(specs)} '*:file:_files' ;;")
    return "\n".join([*lines, "    esac", "}", '_btfd "$@"', ""])


def fish(known: _Verbs) -> str:
    """Lines for fish."""
    lines = []
    for name, (summary, parser) in known.items():
        lines.append(
            f"complete -c btfd -n __fish_use_subcommand -f -a {name} -d {shlex.quote(summary)}"
        )
        here = f"complete -c btfd -n {shlex.quote(f'__fish_seen_subcommand_from {name}')}"
        for action, text in options(parser):
            words = [
                f"-l {o[2:]}" if o.startswith("--") else f"-s {o[1:]}"
                for o in action.option_strings
            ]
            if action.choices:
                words.append(f"-x -a {shlex.quote(' '.join(map(str, action.choices)))}")
            elif action.nargs != 0:
                words.append("-r")
            lines.append(f"{here} {' '.join(words)} -d {shlex.quote(text)}")
    return "\n".join(lines) + "\n"


_SHELLS = {"bash": bash, "zsh": zsh, "fish": fish}
