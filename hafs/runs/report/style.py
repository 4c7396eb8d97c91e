"""How the pages look, in light and in dark."""

STYLE = """
:root{color-scheme:light dark;--ink:#1b1f24;--dim:#656d76;--page:#f6f8fa;--card:#fff;--line:#d8dee4;--main:#2563b8;
--held:#c46a00;--faint:#2563b8;--good:#1a7f37;--bad:#cf222e;--r0:#2563b8;--r1:#c46a00;--r2:#1a7f37;--r3:#8250df;
--r4:#cf222e;--r5:#0e8a8a;--r6:#8a7a00;--r7:#57606a}
@media(prefers-color-scheme:dark){:root{--ink:#e6edf3;--dim:#8b949e;--page:#0d1117;--card:#151b23;--line:#2b3440;
--main:#5fb3ff;--held:#ffb454;--faint:#5fb3ff;--good:#7fd88f;--bad:#ff7b72;--r0:#5fb3ff;--r1:#ffb454;--r2:#7fd88f;
--r3:#d39bff;--r4:#ff7a93;--r5:#5de0d0;--r6:#e6db74;--r7:#a0a8b4}}
*{box-sizing:border-box}
body{font:15px/1.5 system-ui,sans-serif;color:var(--ink);background:var(--page);margin:0}
main{max-width:1080px;margin:0 auto;padding:1.5rem 1rem 3rem}
h1{font-size:1.4rem;margin:0 0 .3rem;overflow-wrap:anywhere}h2{font-size:1.05rem;margin:0 0 .6rem}
a{color:var(--main)}.dim{color:var(--dim);margin:.3rem 0}.warning{color:var(--bad);font-weight:600}
.gain{margin:.2rem 0 .5rem}
section{background:var(--card);border:1px solid var(--line);border-radius:10px;padding:1rem;margin:1rem 0}
.small{display:grid;grid-template-columns:repeat(auto-fit,minmax(min(100%,420px),1fr));gap:1.2rem}
figure{margin:0}figcaption{margin-bottom:.3rem}figcaption code{color:var(--dim);font-size:.8rem;margin-left:.3rem}
.now{color:var(--dim);margin-left:.5rem}
svg{width:100%;height:auto;display:block}svg text{fill:var(--dim);font-size:11px}
.grid{stroke:var(--line);stroke-width:1;fill:none}.border{stroke:var(--dim);stroke-dasharray:2 4;fill:none;opacity:.7}
.line{fill:none;stroke:var(--main);stroke-width:2;stroke-linejoin:round}.line.faint{stroke-width:1;opacity:.4}
.haze{fill:var(--faint);opacity:.16}.line.held_out{stroke:var(--held)}
circle{fill:var(--main);stroke:var(--card);stroke-width:1.5}circle.held_out{fill:var(--held)}
.legend{display:flex;flex-wrap:wrap;gap:.2rem 1.2rem;list-style:none;padding:0;margin:.4rem 0 0;font-size:.85rem;
color:var(--dim)}
.legend li::before{content:'';display:inline-block;width:1.2em;height:.25em;margin-right:.5em;vertical-align:middle;
background:var(--c,var(--main))}.legend .held_out{--c:var(--held)}.legend .faint::before{opacity:.4}
.run0{--c:var(--r0)}.run1{--c:var(--r1)}.run2{--c:var(--r2)}.run3{--c:var(--r3)}.run4{--c:var(--r4)}
.run5{--c:var(--r5)}.run6{--c:var(--r6)}.run7{--c:var(--r7)}
.line[class*=run]{stroke:var(--c)}circle[class*=run]{fill:var(--c)}
.swatch{display:inline-block;width:1.4em;height:.3em;vertical-align:middle;background:var(--c)}
.bar{height:8px;border-radius:4px;background:var(--line);overflow:hidden}.bar div{height:100%;background:var(--main)}
.badge{font-size:.75rem;font-weight:600;padding:.15rem .55rem;border-radius:1rem;border:1px solid;vertical-align:middle;
color:var(--dim)}.running{color:var(--good)}.finished{color:var(--main)}.paused,.stopped{color:var(--held)}
.failed,.diverged,.crashed{color:var(--bad)}
.table{overflow-x:auto}table{border-collapse:collapse;width:100%;margin-bottom:.6rem}
td,th{text-align:left;padding:.3rem 1rem .3rem 0;border-bottom:1px solid var(--line);vertical-align:top;
font-variant-numeric:tabular-nums;overflow-wrap:anywhere}
th{color:var(--dim);font-weight:normal;overflow-wrap:normal}.answers table{table-layout:fixed}
pre{white-space:pre-wrap;overflow-wrap:anywhere;margin:0;font:13px/1.45 ui-monospace,monospace;max-height:24em;
overflow-y:auto}
.events .table{max-height:26em;overflow-y:auto}.events td{white-space:nowrap}
.events td:last-child{width:100%;white-space:normal}
@media print{section{break-inside:avoid}.events .table,pre{max-height:none}}
"""
