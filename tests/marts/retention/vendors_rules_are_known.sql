-- A set of rules with a word that nobody reads would be counted by some other rule.
select *
from {{ ref('retention_vendors') }}
where
    not coalesce(
        vendor is not null
        and is_default is not null
        and source is not null
        and kind in ('exact', 'unbounded')
        and clock in ('calendar', 'rolling')
        and month in ('calendar', '30_days')
        and day_windows in ('dates', 'moments', 'hours')
        and longer_windows in ('dates', 'moments')
        and period_zero in ('start', 'again', 'always')
        and running_period in ('shown', 'hidden')
        and average in ('pooled', 'weighted', 'simple'),
        false
    )
