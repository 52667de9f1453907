-- Every change is explained to the cent, and every segment type explains the same change.
with changes as (
    select
        kpi,
        compared_with,
        period_start_on,
        segment_type,
        sum(effect) as effects,
        sum(value_after - value_before) filter (where cause = 'mix') as change
    from {{ ref('retention_change') }}
    group by all
)

select changes.*
from changes
inner join changes as everyone
    on
        changes.kpi = everyone.kpi
        and changes.compared_with = everyone.compared_with
        and changes.period_start_on = everyone.period_start_on
        and everyone.segment_type = 'all'
where
    abs(changes.effects - changes.change) > 1e-6
    or abs(changes.change - everyone.change) > 1e-6
    or (changes.effects is null) <> (changes.change is null)
