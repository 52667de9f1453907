-- Where a model was trained, everyone who bought in the activity window has a score.
select features.customer_id
from {{ ref('churn_features_today') }} as features
left join {{ ref('churn_scores') }} as scores
    on features.customer_id = scores.customer_id
where
    scores.customer_id is null
    and exists (select 1 from {{ ref('churn_weights') }})
