"""What is compared, and with what: speed with other libraries, results with the reference.

`work` says what is computed and from which inputs, `peers` how each library spells it, `race` times the calls in turns.
`ulp` holds results against the reference, `figures` adds the errors up, `pool` spreads the work over processes and
`tables` lays out what was found. `fastact bench` and `fastact accuracy` are the commands that use them.
"""
