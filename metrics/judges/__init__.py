"""Vision-language models as metrics: what they are asked, how their words become numbers, and what stands for an answer that failed.

`answers` has the words, `forms` the questions, `parsing` reads replies, `panel` asks and aggregates, `metric` makes it a metric and `pairwise` a
preference; `server`, `local` and `toybox` are the judges themselves, which `opening` makes of what a spec says.
"""
