-- All 125 cells have a name, so that no edit of the seed leaves a customer without a segment.
with cells as (
    select
        r.n as recency_score,
        f.n as frequency_score,
        m.n as monetary_score
    from ({{ perennial.numbers(1, 5) }}) as r
    cross join ({{ perennial.numbers(1, 5) }}) as f
    cross join ({{ perennial.numbers(1, 5) }}) as m
)

select cells.*
from cells
left join {{ ref('rfm_segments') }} as segments
    on
        cells.recency_score = segments.recency_score
        and cells.frequency_score = segments.frequency_score
        and cells.monetary_score = segments.monetary_score
group by all
having count(segments.segment) <> 1
