"""People who vote: a study drawn from runs, served to raters, and what their votes say.

`study` is the folder of a study, `draw` fills it from runs, `ledger` keeps who is shown what and every vote, `server` is the web app with its
`pages`, `report` lays the votes out. The votes themselves are a frame that others read and write too (`bench.scoring.votes`).
"""
