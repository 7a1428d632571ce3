# What TAB offers for palisade in elvish. Made by: palisade completions elvish
use str

set edit:completion:arg-completer[palisade] = {|@words|
    e:palisade completions --complete -- $@words 2>/dev/null | from-lines | each {|line|
        var value help = (str:split "\t" $line)
        var text = $value
        if (not-eq $help '') {
            set text = $value'  -- '$help
        }
        # After these the word goes on.
        var suffix = ' '
        if (or (each {|end| put (str:has-suffix $value $end) } [: = / ,])) {
            set suffix = ''
        }
        edit:complex-candidate $value &display=$text &code-suffix=$suffix
    }
}
