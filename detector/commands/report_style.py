"""The style sheet of a report: light and dark by the reader's choice, one column on a phone, nothing from elsewhere."""

from typing import Final

STYLE: Final = """
:root{color-scheme:light dark;--back:#f6f7f9;--card:#fff;--ink:#1b2330;--dim:#5b6778;--edge:#dfe3e9;--line:#1f5fbf;
--band:#9db8dd66;--middle:#7d92b0;--warning:#b07d00;--error:#c8500f;--critical:#b3123d}
@media(prefers-color-scheme:dark){:root{--back:#11151c;--card:#1a202a;--ink:#e6eaf0;--dim:#98a4b5;--edge:#2d3644;
--line:#7fb2ff;--band:#5c7fae55;--middle:#6f86a6;--warning:#e3b341;--error:#ff8a4c;--critical:#ff5c86}}
*{box-sizing:border-box}
body{margin:0 auto;padding:1.5rem 1rem 3rem;max-width:70rem;background:var(--back);color:var(--ink);
font:16px/1.45 system-ui,-apple-system,"Segoe UI",Roboto,"DejaVu Sans",sans-serif;overflow-wrap:anywhere}
h1{font-size:1.5rem;margin:0}
h2{font-size:1.15rem;margin:2rem 0 .75rem}
h3{font-size:1rem;margin:0;font-weight:600}
p{margin:.35rem 0}
.dim,.axis,figcaption,dt{color:var(--dim);font-size:.85rem}
.tiles{display:grid;grid-template-columns:repeat(auto-fit,minmax(9.4rem,1fr));gap:.75rem;margin:1.25rem 0}
.tiles>div,article,.card{background:var(--card);border:1px solid var(--edge);border-radius:.6rem;padding:.75rem .9rem}
dl{margin:0}
dd{margin:0;font-size:1.35rem;font-weight:600;font-variant-numeric:tabular-nums;line-height:1.25}
dd small{display:block;font-size:.8rem;font-weight:400;color:var(--dim)}
article{margin:0 0 1rem}
.scroll{overflow-x:auto;width:fit-content;max-width:100%}
table{border-collapse:collapse;font-variant-numeric:tabular-nums}
th,td{padding:.25rem 1.25rem .25rem 0;text-align:left;font-weight:400;white-space:nowrap}
td{text-align:right}
thead th{color:var(--dim);font-size:.85rem;text-align:right}
thead th:first-child{text-align:left}
td:last-child,thead th:last-child{padding-right:0}
figure{margin:.6rem 0 .3rem;display:grid;grid-template-columns:auto 1fr;column-gap:.5rem}
.axis{display:flex;justify-content:space-between;font-variant-numeric:tabular-nums;font-size:.75rem}
.axis.up{flex-direction:column;text-align:right;padding:.4rem 0;max-width:6rem}
.axis.along{grid-column:2;gap:.5rem}
.axis.along span:nth-child(2){text-align:center}
.axis.along span:last-child{text-align:right}
svg{display:block;width:100%;height:11rem;border:1px solid var(--edge);border-radius:.3rem}
svg *{vector-effect:non-scaling-stroke}
.band{fill:var(--band);stroke:none}
.expected{fill:none;stroke:var(--middle);stroke-width:1;stroke-dasharray:4 3}
.value{fill:none;stroke:var(--line);stroke-width:1.4;stroke-linejoin:round;stroke-linecap:round}
.peak{fill:none;stroke-width:6;stroke-linecap:round;stroke:var(--critical)}
rect.episode{stroke:none;fill-opacity:.2}
rect.warning{fill:var(--warning)}
rect.error{fill:var(--error)}
rect.critical{fill:var(--critical);fill-opacity:.26}
ul{list-style:none;margin:.5rem 0 0;padding:0}
li{margin:.35rem 0;padding-left:.6rem;border-left:.25rem solid var(--edge);font-size:.92rem}
li.warning{border-color:var(--warning)}
li.error{border-color:var(--error)}
li.critical{border-color:var(--critical)}
b{font-weight:600}
b.warning{color:var(--warning)}
b.error{color:var(--error)}
b.critical{color:var(--critical)}
summary{cursor:pointer;color:var(--dim);font-size:.9rem;margin-top:.4rem}
.key{margin-top:1.5rem;display:flex;flex-wrap:wrap;
gap:.3rem 1.1rem;font-size:.85rem;color:var(--dim);align-items:center}
.key i{display:inline-block;width:1.5rem;height:.75rem;margin-right:.4rem;vertical-align:middle}
.key .v{border-top:2px solid var(--line);height:0}
.key .e{border-top:2px dashed var(--middle);height:0}
.key .n{background:var(--band)}
.key .w{background:var(--warning);opacity:.45}
.key .r{background:var(--error);opacity:.45}
.key .c{background:var(--critical);opacity:.45}
@media(max-width:40rem){body{padding:1rem .6rem 2rem}.tiles{grid-template-columns:repeat(2,1fr);gap:.5rem}
dd{font-size:1.1rem}svg{height:9rem}.axis.up{max-width:3.6rem}article{padding:.6rem}}
@media print{article{break-inside:avoid}}
"""
