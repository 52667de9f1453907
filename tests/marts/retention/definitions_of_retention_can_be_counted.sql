-- What is wrong with a definition in the seeds, which else would count nothing without a word.
select
    definition,
    'n_periods is missing, the last period number to count' as what_is_wrong
from {{ ref('retention_definitions') }}
where
    kind <> 'bracket'
    and coalesce(n_periods, -1) < 0

union all

select
    definition,
    'horizon lies before n_periods' as what_is_wrong
from {{ ref('retention_definitions') }}
where
    kind = 'unbounded'
    and horizon < n_periods

union all

select
    definition,
    'a horizon belongs to unbounded retention alone' as what_is_wrong
from {{ ref('retention_definitions') }}
where
    kind <> 'unbounded'
    and horizon is not null

union all

select
    definitions.definition,
    'retention_brackets has no bracket of it' as what_is_wrong
from {{ ref('retention_definitions') }} as definitions
left join {{ ref('retention_brackets') }} as brackets
    on definitions.definition = brackets.definition
where
    definitions.kind = 'bracket'
    and brackets.definition is null

union all

select
    brackets.definition,
    'its kind is not bracket, but retention_brackets has one of it' as what_is_wrong
from {{ ref('retention_brackets') }} as brackets
inner join {{ ref('retention_definitions') }} as definitions
    on brackets.definition = definitions.definition
where definitions.kind <> 'bracket'

union all

select
    definition,
    'a bracket ends before it begins, or begins before the start' as what_is_wrong
from {{ ref('retention_brackets') }}
where
    from_period > to_period
    or from_period < 0
